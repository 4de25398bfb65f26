"""Objectives on groups: where they come to rest, and how much each lets a prompt weigh."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab import _theory as theory
from alignkit.lab._experiment import Claim, Experiment, Row, below
from alignkit.lab._groups import Groups, prompt_weight
from alignkit.lab._tabular import optimum, random_policy
from alignkit.objectives import Objective, make

REF = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
REWARD = torch.tensor([0.0, 1.0, 0.4], dtype=torch.float64)
SAMPLERS = {  # who answers; each can give every answer
    "uniform": torch.full((3,), 1 / 3, dtype=torch.float64),
    "anchor": REF,
    "against the reward": torch.tensor([0.8, 0.05, 0.15], dtype=torch.float64),
}
WEIGHTS: dict[str, Objective] = {
    "grpo": make("grpo", reduction="grpo"),
    "dr_grpo": make("grpo", reduction="dr_grpo", scaling="none"),
    "disco": make("disco", contrast="basic"),
}


@dataclass(frozen=True, kw_only=True)
class GroupWeights(Experiment):
    """GVPO ends at anchor * exp(R / beta) / Z whoever answers; GRPO's fixed points and prompt weights are theory's.

    Every group that can be drawn is enumerated. The weight of a prompt solved with probability p is the expected
    gradient by its log-odds: E sqrt(k (1 - k)) sqrt((G - 1) / G) for GRPO, k the sampled share of right answers,
    (1 - 1/G) p (1 - p) for Dr.GRPO, 1 - p^G - (1 - p)^G for DisCO; as G grows sqrt(p (1 - p)), p (1 - p) and 1.
    """

    full: ClassVar = {"starts": 10}

    starts: int = 2  # random policies to start from
    beta: float = 0.5  # reward per nat
    size: int = 8  # answers to a prompt whose weight is measured
    large: int = 1024  # answers where the limit should be near
    shares: tuple[float, ...] = (0.02, 0.1, 0.3, 0.5, 0.8)  # probabilities that a prompt is solved
    seed: int = 0

    def rows(self) -> list[Row]:
        return [*self._gvpo(), *self._fixed_points(), *self._weights(self.size), *self._weights(self.large)]

    def _gvpo(self) -> list[Row]:
        target = theory.tilted(REF.log(), REWARD / self.beta)
        return [
            self._rest(f"gvpo, answers from {name}", make("gvpo", beta=self.beta), groups, target)
            for name, sampler in SAMPLERS.items()
            for groups in (Groups(ref=REF, reward=REWARD, size=2, sampler=sampler),)
        ]

    def _fixed_points(self) -> list[Row]:
        rows = []
        for size in (2, 3):
            groups = Groups(ref=REF, reward=REWARD, size=size)
            shrunk = (size - 1) / size * REWARD / self.beta
            plain = {"scaling": "none", "reduction": "grpo", "beta": self.beta}
            targets = {
                f"grpo, corrected KL, G = {size}": (make("grpo", **plain), theory.tilted(REF.log(), shrunk)),
                f"grpo, k3, G = {size}": (make("grpo", kl="k3", **plain), theory.reverse_tilted(REF, shrunk)),
                f"reinforce, G = {size}": (
                    make("reinforce", beta=self.beta),
                    theory.tilted(REF.log(), REWARD / self.beta),
                ),
            }
            rows += [self._rest(name, objective, groups, end) for name, (objective, end) in targets.items()]
        return rows

    def _rest(self, name: str, objective: Objective, groups: Groups, target: Tensor) -> Row:
        generator = torch.Generator().manual_seed(self.seed)
        ends = [optimum(groups, objective, random_policy(groups, generator)) for _ in range(self.starts)]
        error = max((end - target).abs().max().item() for end in ends)
        return {"case": name, "G": groups.size, "p": None, "measured": None, "theory": None, "error": error}

    def _weights(self, size: int) -> list[Row]:
        rows: list[Row] = []
        for name, objective in WEIGHTS.items():
            for share in self.shares:
                measured = prompt_weight(objective, share, size)
                limit = size == self.large
                expected = theory.prompt_weight_limit(name, share) if limit else theory.prompt_weight(name, share, size)
                error = abs(measured / expected - 1)
                case = f"weight, {name}" + (", limit" if limit else "")
                rows.append(
                    {"case": case, "G": size, "p": share, "measured": measured, "theory": expected, "error": error}
                )
        return rows

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        def worst(wanted: str, limit: bool = False) -> float:
            chosen = [row for row in rows if row["case"].startswith(wanted) and row["case"].endswith("limit") == limit]
            return max(row["error"] for row in chosen)

        return [
            below("GVPO's distance from its optimum over samplers, nats", worst("gvpo"), 1e-6),
            below("GRPO's distance from its fixed points, nats", worst("grpo"), 1e-6),
            below("REINFORCE's distance from the tilted reference, nats", worst("reinforce"), 1e-6),
            below(f"relative error of prompt weights at G = {self.size}", worst("weight"), 1e-3),  # TRL's std + 1e-4
            below(f"relative distance of weights at G = {self.large} from the limit", worst("weight", True), 1e-2),
        ]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        axes = figure.subplots()
        for name in WEIGHTS:
            points = [row for row in rows if row["case"] == f"weight, {name}"]
            axes.plot([row["p"] for row in points], [row["measured"] for row in points], marker="o", label=name)
        axes.set(xlabel="probability that the prompt is solved", ylabel=f"weight of the prompt, G = {self.size}")
        axes.legend()

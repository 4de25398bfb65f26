"""MMPO: win probabilities implied by the policy are those that the score margins say."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab import _theory as theory
from alignkit.lab._experiment import Claim, Experiment, Row, above, below
from alignkit.lab._tabular import Pairs, descend, optimum
from alignkit.objectives import make

SCORES = torch.tensor([0.0, 0.5, 0.9, 1.6, 2.5], dtype=torch.float64)
REF = torch.tensor([0.35, 0.25, 0.2, 0.15, 0.05], dtype=torch.float64)
UNIFORM = torch.full_like(REF, 1 / 5)


@dataclass(frozen=True, kw_only=True)
class Calibration(Experiment):
    """MMPO's optimum implies win probabilities sigmoid(gamma * score margin): calibrated at the true gamma alone.

    Data name the better-scored answer as chosen, always, as rated data sets do, while it truly wins with probability
    sigmoid(truth * score margin). On such labels DPO grows overconfident without end and cDPO says the same for every
    pair, however close. DPO on labels drawn from the true probabilities is calibrated, but needs many labels a pair.
    """

    full: ClassVar = {"gammas": (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0), "steps": 10_000}

    truth: float = 1.0  # log-odds per unit of score of the true preferences
    gammas: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    beta: float = 0.1
    flip_rate: float = 0.1  # cDPO's
    steps: int = 500  # Adam steps for DPO on hard labels, which has no optimum

    def __post_init__(self) -> None:
        if self.truth not in self.gammas:
            raise ValueError(f"gammas = {list(self.gammas)} must hold the truth, {self.truth}")

    def rows(self) -> list[Row]:
        return [self._row(*policy) for policy in self._policies()]

    def _policies(self) -> Iterator[tuple[str, str, Tensor, float | None]]:
        """Method, labels, its policy, MMPO's gamma."""
        hard = Pairs(ref=REF, mu=UNIFORM, preference=(SCORES[:, None] > SCORES).double(), scores=SCORES)
        drawn = replace(hard, preference=theory.bradley_terry(self.truth * SCORES))
        for gamma in self.gammas:
            yield f"mmpo gamma={gamma:g}", "hard", optimum(hard, make("mmpo", gamma=gamma, beta=self.beta)), gamma
        conservative = make("robust_dpo", form="conservative", flip_rate=self.flip_rate, beta=self.beta)
        yield f"cdpo flip_rate={self.flip_rate:g}", "hard", optimum(hard, conservative), None
        dpo = make("dpo", beta=self.beta)
        for steps in (self.steps // 10, self.steps):
            yield f"dpo, {steps} steps", "hard", descend(hard, dpo, steps)[-1], None
        yield "dpo", "drawn", optimum(drawn, dpo), None

    def _row(self, method: str, labels: str, logps: Tensor, gamma: float | None) -> Row:
        implied = theory.bradley_terry(self.beta * (logps - REF.log()))
        better, worse = (SCORES[:, None] > SCORES).nonzero(as_tuple=True)
        gap = (implied - theory.bradley_terry(self.truth * SCORES))[better, worse]
        predicted = None if gamma is None else theory.bradley_terry(gamma * SCORES)
        return {
            "method": method,
            "labels": labels,
            "gamma": gamma,
            "error": gap.abs().mean().item(),
            "overconfidence": gap.mean().item(),  # implied less true probability that the better answer wins
            "from_theory": None if predicted is None else (implied - predicted).abs().max().item(),
        }

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        mmpo = {row["gamma"]: row for row in rows if row["gamma"] is not None}
        others = [row["error"] for gamma, row in mmpo.items() if gamma != self.truth]
        early, late = (row["overconfidence"] for row in rows if row["method"].startswith("dpo, "))
        return [
            below("MMPO's implied probabilities differ from sigmoid(gamma * margin) by", _worst(mmpo.values()), 1e-6),
            below("calibration error of MMPO at the true gamma", mmpo[self.truth]["error"], 1e-6),
            above("smallest calibration error of MMPO at another gamma", min(others), 0.01),
            below("calibration error of DPO on drawn labels", rows[-1]["error"], 1e-6),
            above("growth of DPO's overconfidence on hard labels as it trains on", late - early, 0),
        ]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        axes = figure.subplots()
        names = [f"{row['method']} ({row['labels']} labels)" for row in rows]
        axes.barh(names, [row["overconfidence"] for row in rows])
        axes.axvline(0, color="black", linewidth=1)
        axes.set(xlabel="implied less true probability that the better answer wins")
        axes.invert_yaxis()


def _worst(rows: Iterable[Row]) -> float:
    return max(row["from_theory"] for row in rows)

"""Every offline objective reaches the optimum that its docstring states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab._cases import Case, Direction, with_optimum, without_optimum
from alignkit.lab._experiment import Claim, Experiment, Row, below
from alignkit.lab._tabular import Population, optimum, random_policy


@dataclass(frozen=True, kw_only=True)
class Optima(Experiment):
    """Every pair, revision and token objective, brought to a zero of its exact gradient, is at its closed-form optimum.

    From any start, within 1e-6 in log-probability. Where there is no optimum (KTO, NaPO with q = 1) the gradient by
    log-probability has the sign that theory gives.
    """

    full: ClassVar = {"starts": 20}

    starts: int = 3  # random policies to start from
    spread: float = 3.0  # standard deviation of their logits, nats
    seed: int = 0

    def rows(self) -> list[Row]:
        return [*map(self._distance, with_optimum()), *map(self._wrong_signs, without_optimum())]

    def _distance(self, case: Case) -> Row:
        ends = [optimum(case.population, case.objective, start) for start in self._starts(case.population)]
        error = max((end - case.optimum).abs().max().item() for end in ends)
        return {"objective": repr(case.objective), "measured": "log-probability", "error": error}

    def _wrong_signs(self, case: Direction) -> Row:
        gradients = [case.population.gradient(case.objective, start) for start in self._starts(case.population)]
        # descent raises log pi(y) where the gradient is negative
        wrong = [(slope[y] < 0).item() != up for slope in gradients for y, up in case.rises.items()]
        return {"objective": repr(case.objective), "measured": "wrong signs", "error": sum(wrong)}

    def _starts(self, population: Population) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        return [random_policy(population, generator, self.spread) for _ in range(self.starts)]

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        solved = [row["error"] for row in rows if row["measured"] == "log-probability"]
        signs = [row["error"] for row in rows if row["measured"] == "wrong signs"]
        return [
            below(f"largest distance of {len(solved)} optima from their closed forms, nats", max(solved), 1e-6),
            below(f"wrong signs in the gradients of {len(signs)} objectives without an optimum", sum(signs), 1),
        ]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        rows = [row for row in rows if row["measured"] == "log-probability"]
        axes = figure.subplots()
        axes.barh([row["objective"] for row in rows], [max(row["error"], 1e-17) for row in rows])
        axes.axvline(1e-6, linestyle="--", color="black")
        axes.set(xscale="log", xlabel="largest distance from the closed form, nats")
        axes.invert_yaxis()

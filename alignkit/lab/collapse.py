"""Deterministic preferences: DPO collapses, IPO does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab._experiment import Claim, Experiment, Row, below
from alignkit.lab._tabular import Pairs, descend, optimum
from alignkit.objectives import Objective, make

ARMS = torch.full((3,), 1 / 3, dtype=torch.float64)
# arm 0 always beats arm 1, both always beat arm 2
ALWAYS = torch.tensor([[0.5, 1, 1], [0, 0.5, 1], [0, 0, 0.5]], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Collapse(Experiment):
    """On three arms with deterministic preferences DPO has no optimum at any strength; IPO's gap is (P_i - P_j) / tau.

    P_i is the probability that arm i beats an arm drawn at random: 5/6, 1/2 and 1/6. DPO's log-ratio gap between the
    best and the worst arm keeps growing as it trains, whatever beta, so regularisation by beta is lost.
    """

    full: ClassVar = {"taus": (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0), "steps": 10_000}

    taus: tuple[float, ...] = (0.05, 0.1, 0.5, 1.0)  # IPO's tau, and DPO's beta
    steps: int = 1000  # Adam steps for DPO

    def rows(self) -> list[Row]:
        return [self._row(tau) for tau in self.taus]

    def _row(self, tau: float) -> Row:
        population = Pairs(ref=ARMS, mu=ARMS, preference=ALWAYS)
        wins = ALWAYS @ ARMS
        solved, path = optimum(population, make("ipo", tau=tau)), descend(population, make("dpo", beta=tau), self.steps)
        gaps = solved[:, None] - solved[None, :]
        return {
            "tau": tau,
            "ipo_gap": _gap(solved).item(),
            "ipo_predicted": (wins[0] - wins[2]).item() / tau,
            "ipo_error": (gaps - (wins[:, None] - wins[None, :]) / tau).abs().max().item(),
            "dpo_gap_early": _gap(path[self.steps // 10]).item(),
            "dpo_gap_late": _gap(path[-1]).item(),
            "dpo_worst_arm": path[-1, 2].exp().item(),
            "dpo_optimum": _has_optimum(population, make("dpo", beta=tau)),
        }

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        growth = min(row["dpo_gap_late"] / row["dpo_gap_early"] for row in rows)
        return [
            below("IPO's gaps differ from (P_i - P_j) / tau by, nats", max(row["ipo_error"] for row in rows), 1e-6),
            below("optima found for DPO, over all beta", sum(row["dpo_optimum"] for row in rows), 1),
            Claim("DPO's gap still grows in the last nine tenths of training: by a factor of", growth > 1, growth),
        ]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        axes = figure.subplots()
        taus = [row["tau"] for row in rows]
        axes.plot(taus, [row["ipo_predicted"] for row in rows], color="gray", label="(P_0 - P_2) / tau")
        axes.plot(taus, [row["ipo_gap"] for row in rows], "o", label="IPO, optimum")
        axes.plot(taus, [row["dpo_gap_early"] for row in rows], "v", label=f"DPO, {self.steps // 10} steps")
        axes.plot(taus, [row["dpo_gap_late"] for row in rows], "^", label=f"DPO, {self.steps} steps")
        axes.set(xscale="log", yscale="log", xlabel="tau (IPO), beta (DPO)", ylabel="log-ratio gap, best to worst arm")
        axes.legend()


def _gap(logps: Tensor) -> Tensor:
    return logps[..., 0] - logps[..., 2]


def _has_optimum(population: Pairs, objective: Objective) -> bool:
    try:
        optimum(population, objective)
    except ArithmeticError:
        return False
    return True

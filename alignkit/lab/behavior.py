"""Who drew the answers: SRPO's optimum does not depend on it, IPO's does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab import _theory as theory
from alignkit.lab._experiment import Claim, Experiment, Row, above, below
from alignkit.lab._tabular import Pairs, Revisions, optimum, total_variation
from alignkit.objectives import make

REF = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
REVISE = torch.tensor([[0.2, 0.1, 0.7], [0.3, 0.6, 0.1], [0.4, 0.3, 0.3]], dtype=torch.float64)
# 0 beats 1 beats 2 beats 0: no reward explains it, so what is best depends on the opponent
CYCLE = torch.tensor([[0.5, 0.9, 0.3], [0.1, 0.5, 0.7], [0.7, 0.3, 0.5]], dtype=torch.float64)
DRAWN: Mapping[str, Tensor] = {
    name: torch.tensor(mu, dtype=torch.float64)
    for name, mu in {
        "uniform": (1 / 3, 1 / 3, 1 / 3),
        "mostly 0": (0.8, 0.1, 0.1),
        "mostly 1": (0.1, 0.8, 0.1),
        "mostly 2": (0.1, 0.1, 0.8),
    }.items()
}


@dataclass(frozen=True, kw_only=True)
class Behavior(Experiment):
    """SRPO's optimum is the same whichever behaviour policy drew the pairs, and for every alpha; IPO's moves with it.

    Preferences go in a circle. Distances are total variation from the optimum under uniformly drawn answers.
    """

    beta: float = 0.25  # of SRPO, and IPO's tau
    alphas: tuple[float, ...] = (0.2, 0.8)  # SRPO's weight of the revision loss

    def rows(self) -> list[Row]:
        return [*self._ipo(), *(row for alpha in self.alphas for row in self._srpo(alpha))]

    def _ipo(self) -> Iterator[Row]:
        objective = make("ipo", tau=self.beta)
        solved = {name: optimum(Pairs(ref=REF, mu=mu, preference=CYCLE), objective) for name, mu in DRAWN.items()}
        for name, mu in DRAWN.items():
            yield _row("ipo", name, solved, theory.ipo(REF, mu, CYCLE, self.beta))

    def _srpo(self, alpha: float) -> Iterator[Row]:
        objective, ref = make("srpo", alpha=alpha, beta=self.beta), torch.cat([REF[None], REVISE])
        solved = {name: optimum(Revisions(ref=ref, mu=mu, preference=CYCLE), objective) for name, mu in DRAWN.items()}
        for name in DRAWN:
            yield _row(f"srpo alpha={alpha:g}", name, solved, theory.srpo(ref, CYCLE, self.beta))

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        moved = [row for row in rows if row["drawn"] != "uniform"]
        ipo = min(row["moved"] for row in moved if row["objective"] == "ipo")
        srpo = max(row["moved"] for row in moved if row["objective"] != "ipo")
        return [
            below("SRPO's optimum moves by a total variation of", srpo, 1e-6),
            above("IPO's optimum moves by a total variation of at least", ipo, 0.01),
            below("largest distance from the closed forms, nats", max(row["error"] for row in rows), 1e-6),
        ]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        axes = figure.subplots()
        for method in dict.fromkeys(row["objective"] for row in rows):
            points = [row for row in rows if row["objective"] == method]
            drawn, moved = [row["drawn"] for row in points], [max(row["moved"], 1e-17) for row in points]
            axes.plot(drawn, moved, "o", label=method)
        axes.set(yscale="log", xlabel="who drew the pairs", ylabel="total variation from the optimum under uniform")
        axes.axhline(1e-6, linestyle="--", color="black")
        axes.legend()


def _row(name: str, drawn: str, solved: Mapping[str, Tensor], expected: Tensor) -> Row:
    return {
        "objective": name,
        "drawn": drawn,
        "moved": total_variation(solved[drawn], solved["uniform"]).max().item(),  # for SRPO, over revisions too
        "error": (solved[drawn] - expected).abs().max().item(),
    }

"""H-DPO: alpha sets the entropy of the optimum, and how many modes of the reference it keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab import _theory as theory
from alignkit.lab._experiment import Claim, Experiment, Row, above, below
from alignkit.lab._tabular import Pairs, optimum
from alignkit.objectives import make


@dataclass(frozen=True, kw_only=True)
class Entropy(Experiment):
    """H-DPO's optimum is ref^(1/alpha) exp(r / (alpha beta)): entropy and the share of the lesser mode grow with alpha.

    The reference has two modes on a line, of weights 0.65 and 0.35; the reward rises slowly along it. alpha = 1 is DPO.
    """

    full: ClassVar = {"answers": 41, "alphas": (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 2.0)}

    answers: int = 15
    alphas: tuple[float, ...] = (0.5, 0.8, 1.0, 1.2, 2.0)
    beta: float = 0.1
    slope: float = 0.003  # reward per unit of the line, which runs from -3 to 3

    def __post_init__(self) -> None:
        if len(self.alphas) < 2 or list(self.alphas) != sorted(set(self.alphas)):
            raise ValueError(f"alphas = {list(self.alphas)} must be two or more, in increasing order")

    def rows(self) -> list[Row]:
        line = torch.linspace(-3, 3, self.answers, dtype=torch.float64)
        ref, reward = _bimodal(line), self.slope * line
        uniform = torch.full_like(ref, 1 / self.answers)
        population = Pairs(ref=ref, mu=uniform, preference=theory.bradley_terry(reward))
        dpo = optimum(population, make("dpo", beta=self.beta))
        rows = []
        for alpha in self.alphas:
            solved = optimum(population, make("hdpo", alpha=alpha, beta=self.beta))
            expected = theory.tilted(ref.log() / alpha, reward / (alpha * self.beta))
            rows.append(_row(alpha, solved, expected, dpo, line))
        return rows

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        claims = [
            below("largest distance from the closed form, nats", max(row["error"] for row in rows), 1e-6),
            above("smallest growth of entropy from one alpha to the next, nats", _growth(rows, "entropy"), 0),
            above("smallest growth of the lesser mode's share", _growth(rows, "lesser_mode"), 0),
        ]
        dpo = [row["from_dpo"] for row in rows if row["alpha"] == 1]
        return claims + [below("alpha = 1 differs from DPO by, nats", value, 1e-6) for value in dpo]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        left, right = figure.subplots(1, 2)
        alphas = [row["alpha"] for row in rows]
        left.plot(alphas, [row["entropy"] for row in rows], "o-")
        left.set(xlabel="alpha", ylabel="entropy of the optimum, nats")
        right.plot(alphas, [row["lesser_mode"] for row in rows], "o-", label="mass of the lesser mode")
        right.plot(alphas, [row["answers_for_90"] / self.answers for row in rows], "s-", label="answers that hold 90 %")
        right.set(xlabel="alpha", ylabel="share")
        right.legend()


def _bimodal(line: Tensor) -> Tensor:
    """Two Gaussians at -1.5 and 1.5 with standard deviation 0.6, normalised over the line."""
    density = 0.65 * torch.exp(-((line + 1.5) ** 2) / 0.72) + 0.35 * torch.exp(-((line - 1.5) ** 2) / 0.72)
    return density / density.sum()


def _row(alpha: float, solved: Tensor, expected: Tensor, dpo: Tensor, line: Tensor) -> Row:
    probabilities = solved.exp()
    halves = probabilities[line < 0].sum(), probabilities[line > 0].sum()
    largest_first = probabilities.sort(descending=True).values.cumsum(0)
    return {
        "alpha": alpha,
        "entropy": -(probabilities * solved).sum().item(),
        "lesser_mode": min(halves).item(),
        "answers_for_90": int((largest_first < 0.9).sum()) + 1,
        "error": (solved - expected).abs().max().item(),
        "from_dpo": (solved - dpo).abs().max().item(),
    }


def _growth(rows: Sequence[Row], name: str) -> float:
    return min(after[name] - before[name] for before, after in pairwise(rows))

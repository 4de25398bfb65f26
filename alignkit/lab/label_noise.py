"""Label noise: which losses remove its bias, and which only change how strongly the policy is tilted."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab import _theory as theory
from alignkit.lab._experiment import Claim, Experiment, Row, above, below
from alignkit.lab._tabular import Pairs, optimum, total_variation
from alignkit.objectives import Objective, make

REF = torch.tensor([0.35, 0.25, 0.2, 0.15, 0.05], dtype=torch.float64)
UNIFORM = torch.full_like(REF, 1 / 5)
REWARD = torch.tensor([0.6, 0.2, -0.3, 0.0, 1.2], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class LabelNoise(Experiment):
    """rDPO removes the bias of symmetric label flips, at the price of variance; q of NaPO acts through strength.

    Distances are total variation from the optimum of DPO on clean labels, ref * exp(r / beta): exact, with infinitely
    many labels, and mean and standard deviation over data sets. "Matched" rescales beta, that is the log-ratios
    pi / ref, until the policy is as far from the reference, in KL, as that optimum: what is left is an error of
    direction. cDPO and rDPO know the rate. MMPO reads scores: with flips that leave them alone, or swap them too.
    """

    full: ClassVar = {"rates": (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45), "seeds": 20}

    rates: tuple[float, ...] = (0.0, 0.15, 0.3, 0.45)  # share of flipped labels, below 0.5
    labels: int = 10_000  # in a data set
    seeds: int = 3  # data sets: seeds 0, 1, ...
    beta: float = 0.5
    tau: float = 0.12  # IPO's, about as strong as DPO at this beta
    q: float = 0.5  # NaPO's

    def __post_init__(self) -> None:
        if len(self.rates) < 2 or list(self.rates) != sorted(set(self.rates)) or self.rates[0] < 0:
            raise ValueError(f"rates = {list(self.rates)} must be two or more, increasing from 0 up")
        if self.seeds < 2:
            raise ValueError(f"seeds = {self.seeds} gives no error bar; write 2 or more")

    def rows(self) -> list[Row]:
        return [self._row(rate, *method) for rate in self.rates for method in self._methods(rate)]

    def _methods(self, rate: float) -> Iterator[tuple[str, Objective, Pairs]]:
        drawn = Pairs(ref=REF, mu=UNIFORM, preference=theory.flipped(theory.bradley_terry(REWARD), rate), scores=REWARD)
        rated = replace(drawn, preference=theory.flipped((REWARD[:, None] > REWARD).double(), rate), scores_swap=True)
        flips = {"beta": self.beta, "flip_rate": rate}
        yield "dpo", make("dpo", beta=self.beta), drawn
        yield "cdpo", make("robust_dpo", form="conservative", **flips), drawn
        yield "rdpo", make("robust_dpo", form="unbiased", **flips), drawn
        yield "napo", make("napo", beta=self.beta, q=self.q), drawn
        yield "ipo", make("ipo", tau=self.tau), drawn
        yield "mmpo, scores kept", make("mmpo", gamma=1, beta=self.beta), drawn
        yield "mmpo, scores swapped", make("mmpo", gamma=1, beta=self.beta), rated

    def _row(self, rate: float, method: str, objective: Objective, population: Pairs) -> Row:
        exact, exact_matched = self._distances(optimum(population, objective))
        fixed, matched, failed = [], [], 0
        for seed in range(self.seeds):
            try:
                distances = self._distances(optimum(self._sample(population, seed), objective))
            except ArithmeticError:
                failed += 1
                continue
            fixed.append(distances[0])
            matched.append(distances[1])
        return {
            "rate": rate,
            "method": method,
            "exact": exact,
            **_mean_and_deviation("", fixed),
            "exact_matched": exact_matched,
            **_mean_and_deviation("_matched", matched),
            "without_optimum": failed,
        }

    def _distances(self, logps: Tensor) -> tuple[float, float]:
        """Total variation from the clean optimum, as it is and at matched strength."""
        target = theory.tilted(REF.log(), REWARD / self.beta)
        matched = _with_divergence(logps, _divergence(target))
        return total_variation(logps, target).item(), total_variation(matched, target).item()

    def _sample(self, population: Pairs, seed: int) -> Pairs:
        generator = torch.Generator().manual_seed(seed)
        rows = population.weights().multinomial(self.labels, replacement=True, generator=generator)
        return DataSet(**vars(population), counts=rows.bincount(minlength=len(population.weights())))

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        exact = {name: _column(rows, name, "exact") for name in ("dpo", "rdpo", "mmpo, scores kept")}
        matched = {name: _column(rows, name, "exact_matched") for name in ("dpo", "napo")}
        spread = _column(rows, "rdpo", "deviation")
        return [
            below("exact distance of rDPO, at every rate", max(exact["rdpo"]), 1e-6),
            below("exact distance of MMPO whose scores are kept, at every rate", max(exact["mmpo, scores kept"]), 1e-6),
            above("smallest growth of DPO's exact distance from one rate to the next", _growth(exact["dpo"]), 0),
            above(
                "rDPO's deviation at the highest rate, over that at the lowest",
                spread[-1] / spread[0],
                2,
            ),
            below("NaPO at matched strength is nearer than DPO by", _gain(matched["dpo"], matched["napo"]), 0.01),
        ]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        panels = {"": "as it is", "_matched": "at matched strength"}
        for axes, (suffix, title) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
            for method in dict.fromkeys(row["method"] for row in rows):
                points = [row for row in rows if row["method"] == method and row[f"mean{suffix}"] is not None]
                means, deviations = ([row[f"{name}{suffix}"] for row in points] for name in ("mean", "deviation"))
                axes.errorbar([row["rate"] for row in points], means, deviations, marker="o", capsize=3, label=method)
            axes.set(title=title, xlabel="share of flipped labels")
        figure.axes[0].set_ylabel("total variation from the clean optimum")
        figure.axes[1].legend()


@dataclass(frozen=True, kw_only=True)
class DataSet(Pairs):
    """Pairs as they were drawn: how often each answer won against each."""

    counts: Tensor  # (n (n - 1),)

    def weights(self) -> Tensor:
        return self.counts.double() / self.counts.sum()


def _divergence(logps: Tensor) -> Tensor:
    """KL from the reference, nats."""
    return (logps.exp() * (logps - REF.log())).sum()


def _with_divergence(logps: Tensor, divergence: Tensor) -> Tensor:
    """The policy on the line from the reference through `logps`, in log-ratios, that is `divergence` away."""

    def scaled(factor: Tensor) -> Tensor:
        return theory.tilted(REF.log(), factor * (logps - REF.log()))

    low, high = torch.tensor([0.0, 1e3], dtype=torch.float64)
    return scaled(theory.bisect(lambda factor: _divergence(scaled(factor)) - divergence, low, high))


def _mean_and_deviation(suffix: str, values: Sequence[float]) -> Row:
    mean = statistics.fmean(values) if values else None
    return {f"mean{suffix}": mean, f"deviation{suffix}": statistics.stdev(values) if len(values) > 1 else None}


def _column(rows: Sequence[Row], method: str, name: str) -> list[float]:
    return [row[name] for row in rows if row["method"] == method]


def _growth(values: Sequence[float]) -> float:
    return min(after - before for before, after in pairwise(values))


def _gain(dpo: Sequence[float], napo: Sequence[float]) -> float:
    return max(before - after for before, after in zip(dpo, napo, strict=True))

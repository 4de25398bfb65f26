"""MixCE on random bigram languages, in the set-up of its paper: what it learns is its biased optimum."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignkit.lab import _theory as theory
from alignkit.lab._bigram import Language, Texts, average_divergence, average_zeros, train
from alignkit.lab._experiment import Claim, Experiment, Row, above, below
from alignkit.objectives import make

# eta: mean and standard deviation of avg_js over five seeds of the published code (random 50 %, vocabulary 21)
RECORDED: Mapping[float, tuple[float, float]] = {
    1.0: (7.42e-4, 9.4e-5),
    0.99: (7.18e-4, 8.7e-5),
    0.5: (2.80e-3, 3.2e-4),
}


@dataclass(frozen=True, kw_only=True)
class Bigram(Experiment):
    """MixCE learns a bigram language with an error that grows as eta falls, as its optimum in closed form says it must.

    avg_js is the mean Jensen-Shannon divergence between learned and true rows, nats; avg_0s the mean probability of
    what the language forbids. The bias is avg_js of the closed-form optimum: what infinite data would leave. Maximum
    likelihood (eta = 1) has none.
    """

    full: ClassVar = {"etas": (1.0, 0.99, 0.9, 0.5, 0.1, 0.0), "seeds": (7, 42, 777, 4222, 99999)}

    etas: tuple[float, ...] = (1.0, 0.5)
    seeds: tuple[int, ...] = (7,)  # each draws a language, texts and a network
    vocabulary: int = 21  # one of them stands for the beginning; the paper has 21, 51, 101, 501 and 1001
    texts: int = 50_000  # to train on; a tenth as many more are held out to choose the epoch
    epochs: int = 50  # at most: 5 without a better loss on held-out texts end the training

    def __post_init__(self) -> None:
        if self.vocabulary < 4:
            raise ValueError(
                f"vocabulary = {self.vocabulary} leaves no words beside beginning and end; write 4 or more"
            )
        if self.texts < 10:
            raise ValueError(f"texts = {self.texts} leaves none to hold out; write 10 or more")

    def rows(self) -> list[Row]:
        runs: dict[float, list[tuple[float, float, float]]] = {eta: [] for eta in self.etas}
        for seed in self.seeds:
            language, texts, held_out = self._draw(seed)
            for eta in self.etas:
                objective = make("mixce", eta=eta)
                learned = train(objective, texts, held_out, self.vocabulary, self.epochs, seed)
                runs[eta].append(self._measure(eta, learned.numpy(), language))
        return [self._row(eta, measured) for eta, measured in runs.items()]

    def _draw(self, seed: int) -> tuple[Language, Texts, Texts]:
        random = np.random.default_rng(seed)
        language = Language.draw(self.vocabulary, random)
        return language, language.texts(self.texts, random), language.texts(self.texts // 10, random)

    def _measure(self, eta: float, learned: np.ndarray, language: Language) -> tuple[float, float, float]:
        """avg_js, avg_0s, bias. Compared are all rows but the one after the end, all columns but the beginning's."""
        learned, true = learned[:-1, 1:], language.table[:, 1:]
        biased = theory.mixce(torch.from_numpy(true), eta).exp().numpy()
        return average_divergence(learned, true), average_zeros(learned, true), average_divergence(biased, true)

    def _row(self, eta: float, measured: Sequence[tuple[float, float, float]]) -> Row:
        divergences, zeros, biases = zip(*measured, strict=True)
        recorded, deviation = RECORDED.get(eta, (None, None)) if self._published else (None, None)
        return {
            "eta": eta,
            "seeds": len(measured),
            "avg_js": statistics.fmean(divergences),
            "deviation": statistics.stdev(divergences) if len(measured) > 1 else None,
            "bias": statistics.fmean(biases),
            "avg_0s": statistics.fmean(zeros),
            "recorded_avg_js": recorded,
            "recorded_deviation": deviation,
        }

    @property
    def _published(self) -> bool:
        return (self.vocabulary, self.texts, self.epochs) == (21, 50_000, 50)

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        most, least = (choose(rows, key=lambda row: row["eta"]) for choose in (max, min))
        claims = [_agreement(row) for row in rows if row["recorded_avg_js"] is not None]
        if most["eta"] > least["eta"]:
            text = f"avg_js at eta = {least['eta']:g} over that at {most['eta']:g}"
            claims.append(above(text, least["avg_js"] / most["avg_js"], 1))
        # above 0.5 the bias is not the larger part of the error
        claims += [_explained(row) for row in rows if row["eta"] <= 0.5]
        if self._published and most["eta"] == 1:
            gain = most["avg_js"] - min(row["avg_js"] for row in rows)
            claims.append(
                below("gain of the best eta over maximum likelihood, within its seed noise", gain, RECORDED[1][1])
            )
        return claims

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        axes, rows = figure.subplots(), sorted(rows, key=lambda row: row["eta"])
        recorded = [row for row in rows if row["recorded_avg_js"] is not None]
        _points(axes, rows, "avg_js", [row["deviation"] or 0 for row in rows], fmt="o-", label="learned")
        _points(axes, [row for row in rows if row["bias"] > 1e-12], "bias", None, fmt="--", label="bias")
        errors = [2 * row["recorded_deviation"] for row in recorded]
        _points(axes, recorded, "recorded_avg_js", errors, fmt="s", label="recorded, two standard deviations")
        axes.set(yscale="log", xlabel="eta (1 is maximum likelihood)", ylabel="avg_js, nats")
        axes.legend()


def _agreement(row: Row) -> Claim:
    distance = abs(row["avg_js"] - row["recorded_avg_js"]) / row["recorded_deviation"]
    return below(f"eta = {row['eta']:g}: recorded standard deviations from the recorded avg_js", distance, 2)


def _explained(row: Row) -> Claim:
    return above(f"eta = {row['eta']:g}: share of avg_js that is bias", row["bias"] / row["avg_js"], 0.5)


def _points(axes: Axes, rows: Sequence[Row], name: str, errors: list[float] | None, fmt: str, label: str) -> None:
    axes.errorbar([row["eta"] for row in rows], [row[name] for row in rows], errors, fmt=fmt, capsize=4, label=label)

"""MixCE on random bigram languages, in the set-up of its paper: what it learns is its biased optimum."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
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
        claims = [
            below(
                f"eta = {row['eta']:g}: distance from the recorded avg_js in recorded standard deviations",
                abs(row["avg_js"] - row["recorded_avg_js"]) / row["recorded_deviation"],
                2,
            )
            for row in rows
            if row["recorded_avg_js"] is not None
        ]
        most, least = (choose(rows, key=lambda row: row["eta"]) for choose in (max, min))
        if most["eta"] > least["eta"]:
            grows = least["avg_js"] / most["avg_js"]
            claims.append(above(f"avg_js at eta = {least['eta']:g} over that at {most['eta']:g}", grows, 1))
        for row in rows:
            if row["eta"] <= 0.5:  # above, estimation error is the larger part
                share = row["bias"] / row["avg_js"]
                claims.append(
                    above(f"eta = {row['eta']:g}: share of avg_js that the closed-form bias explains", share, 0.5)
                )
        return claims

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        axes = figure.subplots()
        rows = sorted(rows, key=lambda row: row["eta"])
        etas = [row["eta"] for row in rows]
        axes.errorbar(
            etas,
            [row["avg_js"] for row in rows],
            [row["deviation"] or 0 for row in rows],
            marker="o",
            capsize=3,
            label="learned",
        )
        biased = [row for row in rows if row["bias"] > 0]
        axes.plot(
            [row["eta"] for row in biased],
            [row["bias"] for row in biased],
            "--",
            label="bias of the closed-form optimum",
        )
        recorded = [row for row in rows if row["recorded_avg_js"] is not None]
        axes.errorbar(
            [row["eta"] for row in recorded],
            [row["recorded_avg_js"] for row in recorded],
            [2 * row["recorded_deviation"] for row in recorded],
            fmt="s",
            capsize=6,
            label="recorded, two standard deviations",
        )
        axes.set(yscale="log", xlabel="eta (1 is maximum likelihood)", ylabel="avg_js, nats")
        axes.legend()

"""How sure a mean is. Answers to one question hang together, so questions are what is drawn again."""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 5000
EXACT = 14  # questions up to which all sign flips are counted
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval: percentiles of the means of questions drawn with replacement."""

    mean: float
    low: float
    high: float
    values: int
    questions: int


@dataclass(frozen=True, kw_only=True)
class Paired:
    """B less A on what both were judged on."""

    difference: float
    low: float
    high: float
    p: float  # two-sided: how often differences as large come from questions whose signs are thrown at random
    values: int
    questions: int

    @property
    def verdict(self) -> str:
        """better, worse, or unclear: at 5 %."""
        if self.p >= 1 - CONFIDENCE or not self.difference:
            return "unclear"
        return "better" if self.difference > 0 else "worse"


def interval(values: Sequence[float], questions: Sequence[Hashable], seed: int = 0) -> Interval:
    """The mean of the values; `questions` says which question each belongs to. At least one value."""
    sums, counts = _by_question(values, questions)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    mean = float(np.mean(values))
    return Interval(mean=mean, low=float(low), high=float(high), values=len(values), questions=len(sums))


def paired(a: Mapping[tuple, float], b: Mapping[tuple, float], seed: int = 0) -> Paired | None:
    """B less A where both have a value; keys are tuples that begin with the question. None if they share nothing."""
    both = [key for key in a if key in b]
    if not both:
        return None
    differences = [b[key] - a[key] for key in both]
    found = interval(differences, [key[0] for key in both], seed)
    sums, _ = _by_question(differences, [key[0] for key in both])
    return Paired(
        difference=found.mean,
        low=found.low,
        high=found.high,
        p=_sign_flips(sums, seed),
        values=found.values,
        questions=found.questions,
    )


def _sign_flips(sums: np.ndarray, seed: int) -> float:
    """Share of the sign patterns whose total is as far from zero as the one seen; all patterns, or a sample."""
    if len(sums) <= EXACT:
        signs = np.array([*itertools.product((1, -1), repeat=len(sums))])
    else:
        signs = np.random.default_rng(seed).choice((1, -1), size=(DRAWS, len(sums)))
        signs[0] = 1  # the pattern seen is one of them
    totals = np.abs(signs @ sums)
    return float(np.mean(totals >= abs(sums.sum()) - 1e-9))


def _by_question(values: Sequence[float], questions: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """(sums, counts) of the values of each question."""
    index = {question: number for number, question in enumerate(dict.fromkeys(questions))}
    where = [index[question] for question in questions]
    return np.bincount(where, weights=np.asarray(values, float)), np.bincount(where).astype(float)


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's correlation; None where one of the two is constant."""
    if len(x) < 3 or np.std(x) == 0 or np.std(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def kappa(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Cohen's kappa of two judges' verdicts on the same things: agreement beyond chance; None where chance is all."""
    kinds = {*a, *b}
    seen = sum(one == other for one, other in zip(a, b, strict=True)) / len(a)
    chance = sum(a.count(kind) * b.count(kind) for kind in kinds) / len(a) ** 2
    return None if chance == 1 else (seen - chance) / (1 - chance)


def length_controlled(wins: Sequence[float], differences: Sequence[float]) -> float:
    """The win rate between answers of equal length, from 0 to 1.

    wins are 1, 0, or 0.5 for a tie; differences are lengths, the model's less the other's. A logistic regression

        win = sigmoid(theta + phi * tanh(difference / std(difference)))

    gives sigmoid(theta). Source: Dubois et al. 2024, arXiv:2404.04475, section 3. Differs from AlpacaEval: no term for
    the instruction's difficulty, which needs many models, and a penalty only as large as keeps a clean sweep finite.
    """
    y, x = np.asarray(wins, float), np.asarray(differences, float)
    x = np.tanh(x / x.std()) if x.std() > 0 else np.zeros_like(x)
    design = np.stack([np.ones_like(x), x], 1)
    weights, penalty = np.zeros(2), 1e-3
    for _ in range(50):  # Newton's method; the likelihood is concave
        p = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (y - p) - penalty * weights
        hessian = (design * (p * (1 - p))[:, None]).T @ design + penalty * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    return float(1 / (1 + np.exp(-weights[0])))

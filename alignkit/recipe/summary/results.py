"""The figures of a run, from what its trainer logged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

History = Sequence[Mapping[str, float]]

MEANINGS = {  # what trainers log, under TRL's names: what it is
    "loss": "what is minimised",
    "rewards/accuracies": "share of pairs whose chosen answer has the higher reward",
    "rewards/margins": "reward of the chosen answer above the rejected one",
    "rewards/chosen": "reward of the chosen answers",
    "rewards/rejected": "reward of the rejected answers",
    "logps/chosen": "log-probability of a chosen answer, nats",
    "logps/rejected": "log-probability of a rejected answer, nats",
    "entropy": "entropy of the next token, nats",
    "mean_token_accuracy": "share of the tokens that the model found likeliest",
}
HEADINGS = ("data", "quantity", "first", "last", "steps", "what it is")
SETS = {"eval_": "held-out", "": "training"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A quantity at the first and at the last time it was logged."""

    name: str
    data: str  # held-out or training
    meaning: str
    first: float
    last: float
    steps: tuple[int, int]  # optimiser steps done when it was logged

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """A row under HEADINGS."""
        start, end = self.steps
        steps = f"{start:,} to {end:,}" if start != end else f"{start:,}"
        return self.data, self.name, number(self.first), number(self.last), steps, self.meaning


def results(history: History) -> list[Result]:
    """What is known of MEANINGS, held-out figures first; values that are no numbers are passed over."""
    found = []
    for prefix, data in SETS.items():
        for name, meaning in MEANINGS.items():
            logged = [(int(entry["step"]), entry[prefix + name]) for entry in history if prefix + name in entry]
            points = [(step, value) for step, value in logged if math.isfinite(value)]
            if points:
                (start, first), (end, last) = points[0], points[-1]
                found.append(Result(name=name, data=data, meaning=meaning, first=first, last=last, steps=(start, end)))
    return found


def last_logged(history: History, name: str) -> float | None:
    return next((entry[name] for entry in reversed(history) if name in entry), None)


def number(value: float) -> str:
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """`2 h 5 min`, `3 min 20 s`, `45 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

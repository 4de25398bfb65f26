"""A penalty for saying the same again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule


@dataclass(frozen=True, kw_only=True)
class Repetition(Rule):
    """-penalty * (1 - different / all) of the answer's runs of n words

    0 where no run occurs twice, or there is none. Upper and lower case are the same.
    Source: Yeo et al. 2025, arXiv:2502.03373, algorithm 1, which penalises each token of a repeated run; here it is
    one number for the whole answer.
    """

    n: int = 3  # words in a run, >= 1
    penalty: float = 1.0  # reward lost as the share of repeated runs goes to 1, > 0

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n = {self.n} must be at least 1")
        if not 0 < self.penalty < float("inf"):
            raise ValueError(f"penalty = {self.penalty} must be a positive number; remove the member to leave it out")

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        words = answer.lower().split()
        runs = [tuple(words[start : start + self.n]) for start in range(len(words) - self.n + 1)]
        return -self.penalty * (1 - len({*runs}) / len(runs)) if runs else 0.0

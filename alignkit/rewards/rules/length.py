"""A penalty for long answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule


@dataclass(frozen=True, kw_only=True)
class Length(Rule):
    """0 up to limit - buffer, then (limit - buffer - length) / buffer, and -1 from `limit` on

    Source: Yu et al. 2025 (DAPO), arXiv:2503.14476, equation 13, there in tokens.
    """

    limit: int  # length from which the penalty is whole
    buffer: int  # length over which it grows, at most `limit`; 0: all at once
    unit: Literal["words", "characters"] = "words"  # what is counted

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit = {self.limit} must be at least 1")
        if not 0 <= self.buffer <= self.limit:
            raise ValueError(f"buffer = {self.buffer} must be from 0 to limit = {self.limit}")

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        length = len(answer.split()) if self.unit == "words" else len(answer)
        start = self.limit - self.buffer
        if length <= start:
            return 0.0
        return -1.0 if length >= self.limit else (start - length) / self.buffer

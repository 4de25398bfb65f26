"""Whether an answer is the expected text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule


@dataclass(frozen=True, kw_only=True)
class ExactMatch(Rule):
    """1 if the answer is the expected text, spaces around both apart, else 0."""

    column: str = "answer"  # of the data: what is expected
    ignore_case: bool = False  # compare without regard to upper and lower case

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        texts = (answer.strip(), str(row[self.column]).strip())
        said, expected = (text.casefold() for text in texts) if self.ignore_case else texts
        return float(said == expected)

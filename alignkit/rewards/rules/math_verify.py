"""Whether an answer is the expected mathematics, however it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.rewards._isolated import verified
from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule, positive


@dataclass(frozen=True, kw_only=True)
class MathVerify(Rule):
    """1 if the answer equals the expected one as mathematics, else 0

    Of the answer it counts what \\boxed{} holds, else the last LaTeX, else the last number. What cannot be compared in
    time is wrong, with a warning.
    Source: the library math-verify (Kydlíček 2025), which runs in a process of its own.
    """

    column: str = "answer"  # of the data: what is expected, LaTeX or plain
    seconds: float = 5.0  # for one comparison, > 0

    def __post_init__(self) -> None:
        positive(seconds=self.seconds)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        return verified("math_verify", answer, self.seconds, expected=str(row[self.column]))

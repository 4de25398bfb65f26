"""The verdict of a reasoning_gym task on an answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.rewards._isolated import verified
from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule, positive

# Tasks whose verifiers pass the answer to eval, or to sympy's parser, which does: a model could run code with them
EVALUATE_ANSWERS = frozenset(
    {
        "binary_matrix",
        "composite",  # of any other tasks
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)


@dataclass(frozen=True, kw_only=True)
class ReasoningGym(Rule):
    """score of the task's own verifier, 0 to 1; with `whole` 1 for a full score, else 0

    Reads the rows of `source: reasoning_gym`. The verifier runs in a process of its own.
    Source: the library reasoning_gym (Stojanovski et al. 2025, arXiv:2505.24760).
    """

    whole: bool = False  # no part marks: rewards are then 0 or 1, as disco needs them
    seconds: float = 5.0  # for one answer, > 0

    def __post_init__(self) -> None:
        positive(seconds=self.seconds)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("answer", "task")

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        task = row["task"]
        if task["name"] in EVALUATE_ANSWERS:
            raise ValueError(f"the verifier of {task['name']} runs answers as code; choose another task")
        score = verified("reasoning_gym", answer.strip(), self.seconds, expected=str(row["answer"]), task=task)
        return float(score >= 1) if self.whole else score

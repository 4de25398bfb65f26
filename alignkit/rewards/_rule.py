"""What a rule is: a frozen dataclass of hyperparameters that gives an answer a number by its text alone."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from alignkit.rewards._reward import RewardError, Text, shown


class Rule(ABC):
    """Base of all rules. Subclasses are frozen dataclasses with a `score`; a rule is a `Reward`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the data columns that the rule reads."""
        return ()

    @abstractmethod
    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        """The reward of one answer, given as text; `row` holds the values of `columns`."""

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor:
        """(N,). ValueError if the data lack a column that the rule reads; RewardError names the example that failed."""
        if missing := [name for name in self.columns if name not in columns]:
            there = ", ".join(columns) or "none"
            raise ValueError(f"{type(self).__name__} reads the column {missing[0]!r}; the data have {there}")
        rows = [{name: columns[name][number] for name in self.columns} for number in range(len(completions))]
        given = zip(prompts, map(text_of, completions), rows, strict=True)
        return torch.tensor([self._score(number, *one) for number, one in enumerate(given)], dtype=torch.float32)

    def _score(self, number: int, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        try:
            return self.score(prompt, answer, row)
        except Exception as error:  # a rule may be a user's own
            raise RewardError(f"{error}; example {number}: {shown(answer)}") from error


def text_of(completion: Text) -> str:
    """An answer as text: of messages, what the last one says."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def positive(**values: float) -> None:
    """Refuse numbers that are not above 0, by their names."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} = {value} must be a positive number")

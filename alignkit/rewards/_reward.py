"""What a reward is: anything that gives answers numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

Text = str | Sequence[Mapping[str, str]]  # plain text, or messages {"role": ..., "content": ...}


class Reward(Protocol):
    """Scores of answers, (N,), the higher the better. `columns` are the data's other columns, N values each."""

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor: ...


class RewardError(ValueError):
    """A reward that failed or gave no number: says which one and for which example."""


def shown(text: Text, limit: int = 60) -> str:
    """The start of a text for a message."""
    whole = text if isinstance(text, str) else str(text[-1].get("content", "")) if text else ""
    return repr(whole if len(whole) <= limit else f"{whole[:limit]}…")

"""What a sampler is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Message = dict[str, str]  # {"role": "user", "content": ...}
Chat = Sequence[Message]  # ends with the user's turn


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An answer, and how it ended."""

    text: str
    tokens: int  # the one that ends it counted
    truncated: bool  # no end came within the limit


class Drawing(Protocol):
    """Draws answers to chats, or to plain texts as they are, and says how each ended."""

    def draw(self, prompts: Sequence[Chat | str], n: int = 1) -> list[list[Drawn]]:
        """n answers to each prompt, in the order of the prompts."""
        ...


class Sampler(Protocol):
    """Draws answers from some model, wherever it runs."""

    def __call__(self, chats: Sequence[Chat], n: int = 1) -> list[list[str]]:
        """n answers to each chat, in the order of the chats."""
        ...

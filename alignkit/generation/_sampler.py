"""What a sampler is."""

from collections.abc import Sequence
from typing import Protocol

Message = dict[str, str]  # {"role": "user", "content": ...}
Chat = Sequence[Message]  # ends with the user's turn


class Sampler(Protocol):
    """Draws answers from some model, wherever it runs."""

    def __call__(self, chats: Sequence[Chat], n: int = 1) -> list[list[str]]:
        """n answers to each chat, in the order of the chats."""
        ...

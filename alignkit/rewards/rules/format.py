"""Whether an answer is made of sections in tags, in their order."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.rewards._reward import Text
from alignkit.rewards._rule import Rule


@dataclass(frozen=True, kw_only=True)
class Format(Rule):
    """1 if the answer is <think>...</think><answer>...</answer>, each tag once and none between, else 0

    Space around sections is free; a section may not be empty.
    Source: DeepSeek-AI 2025, arXiv:2501.12948, section 2.2.2.
    """

    tags: tuple[str, ...] = ("think", "answer")  # of the sections, in order

    def __post_init__(self) -> None:
        if not self.tags:
            raise ValueError("tags is empty; write [think, answer]")
        for tag in self.tags:
            if not re.fullmatch(r"\w+", tag):
                raise ValueError(f"tags: {tag!r} is no name of a tag; write it without brackets, as in think")

    def score(self, prompt: Text, answer: str, row: Mapping[str, Any]) -> float:
        rest = answer.strip()
        for tag in self.tags:
            start, end = f"<{tag}>", f"</{tag}>"
            if not rest.startswith(start) or answer.count(start) != 1 or answer.count(end) != 1:
                return 0.0
            inside, _, rest = rest.removeprefix(start).partition(end)
            if not inside.strip() or any(f"<{other}>" in inside or f"</{other}>" in inside for other in self.tags):
                return 0.0
            rest = rest.lstrip()
        return float(not rest)

"""The prompt that asks a model to improve on a draft."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import overload

from alignkit.data.rows import Message

PLACEHOLDERS = ("prompt", "draft")
FILE = "revision_prompt.txt"  # beside a model that was trained to revise
DEFAULT = """{prompt}

A draft of the answer:

{draft}

Write a better answer."""

_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class RevisionPrompt:
    """A prompt and a draft of its answer, made one prompt.

    `template` is plain text in which {prompt} and {draft} are replaced, once; nothing in it is executed, and braces
    inside a prompt or draft stay as they are. Of a conversation, the last message of the user is rewritten and the
    turns before it stay.
    """

    template: str = DEFAULT

    def __post_init__(self) -> None:
        names = _NAME.findall(self.template)
        for name in names:
            if name not in PLACEHOLDERS:
                near = get_close_matches(name, PLACEHOLDERS, n=1)
                hint = f"did you mean {{{near[0]}}}?" if near else "it knows {prompt} and {draft}"
                raise ValueError(f"revision_prompt holds {{{name}}}, which nothing is put in for; {hint}")
        for name in PLACEHOLDERS:
            if name not in names:
                raise ValueError(f"revision_prompt does not hold {{{name}}}; write it where the {name} belongs")

    @overload
    def __call__(self, prompt: str, draft: str | Sequence[Message]) -> str: ...

    @overload
    def __call__(self, prompt: Sequence[Message], draft: str | Sequence[Message]) -> list[Message]: ...

    def __call__(self, prompt: str | Sequence[Message], draft: str | Sequence[Message]) -> str | list[Message]:
        """The prompt of a revision, text for text and messages for messages.

        Raises:
            ValueError: the draft is a conversation of its own.
        """
        text = draft if isinstance(draft, str) else _only_message(draft)["content"]
        if isinstance(prompt, str):
            return self._filled(prompt, text)
        *before, last = prompt
        return [*before, {**last, "content": self._filled(last["content"], text)}]

    def save(self, folder: str | Path) -> None:
        """Write it beside a model."""
        (Path(folder) / FILE).write_text(self.template, encoding="utf-8", newline="")

    @classmethod
    def load(cls, folder: str | Path) -> RevisionPrompt:
        """The one beside a model.

        Raises:
            ValueError: there is none.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise ValueError(
                f"{folder} has no {FILE}, so it was not trained to revise; train it with srpo, or give one"
            )
        with path.open(encoding="utf-8", newline="") as file:
            return cls(template=file.read())

    def _filled(self, prompt: str, draft: str) -> str:
        values = {"prompt": prompt, "draft": draft}
        return _NAME.sub(lambda found: values[found[1]], self.template)


def _only_message(draft: Sequence[Message]) -> Message:
    if len(draft) != 1:
        raise ValueError(f"an answer of {len(draft)} messages cannot be a draft; keep the last turn only")
    return draft[0]

"""Checks on one row. Each raises BadRow with one of a few reasons; nothing is repaired in silence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from alignkit.data.errors import BadRow
from alignkit.data.images import NAMES as IMAGES
from alignkit.data.images import text_of

Message = dict[str, str]
Row = Mapping[str, Any]

ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}
NOT_CARRIED = (*IMAGES, "videos", "tools")
NOT_CARRIED_IN_MESSAGES = ("tool_calls", "reasoning_content", "thinking")


def present(row: Row, name: str) -> Any:
    """The value of a field that must be there."""
    if row.get(name) is None:
        there = ", ".join(key for key, value in row.items() if value is not None) or "nothing"
        raise BadRow("missing field", f"{name}; the row has {there}")
    return row[name]


def checked_text(value: Any, name: str, *, empty: str = "empty text") -> str:
    """A string with something in it; `empty` is the reason given for one without."""
    if not isinstance(value, str):
        raise BadRow("not text", f"{name} is {kind(value)}")
    if not value.strip():
        raise BadRow(empty, name)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow("not text", f"{name} holds half of a character (\\u{ord(value[error.start]):04x})") from error
    return value


def checked_number(row: Row, name: str) -> float:
    """A finite number, which CSV files write as text."""
    value = present(row, name)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRow("not a number", f"{name} is {kind(value)}")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise BadRow("not a number", f"{name} is {str(value)[:20]!r}") from error
    if not math.isfinite(number):
        raise BadRow("not a finite number", f"{name} is {number}")
    return number


def checked_label(row: Row) -> bool:
    """True or false, which CSV files write as text. 1 and 0 are refused: a score of 1 would pass for a label."""
    value = present(row, "label")
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise BadRow("not true or false", f"label is {value if isinstance(value, int | float) else kind(value)}")
    return value


def checked_messages(value: Any, name: str) -> list[Message]:
    """Messages of role and content, or of from and value, as role and content."""
    if not isinstance(value, list):
        raise BadRow("not a list of messages", f"{name} is {kind(value)}")
    if not value:
        raise BadRow("missing field", f"{name} has no messages")
    return [checked_message(message, f"message {i} of {name}") for i, message in enumerate(value, start=1)]


def checked_message(message: Any, name: str) -> Message:
    if not isinstance(message, dict):
        raise BadRow("not a list of messages", f"{name} is {kind(message)}")
    for key in NOT_CARRIED_IN_MESSAGES:
        if message.get(key):
            raise BadRow("not carried", f"{name} has {key}, and only role and content reach the model")
    role = message.get("role") or message.get("from")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRow("wrong role", f"{name} is from {role!r:.30}; known are {', '.join(ROLES)}")
    content = message["content"] if message.get("content") is not None else message.get("value")
    if isinstance(content, list):
        content = text_of(content, name)
    if ROLES[role] == "system" and content == "":
        return {"role": "system", "content": ""}  # says that the template's own system message is not wanted
    reason = "empty answer" if ROLES[role] == "assistant" else "empty text"
    return {"role": ROLES[role], "content": checked_text(content, name, empty=reason)}


def check_turns(messages: Sequence[Message], name: str, *, first: str, last: str) -> None:
    """After an optional system message (allowed where the first turn is the user's), user and assistant alternate."""
    if not messages:
        raise BadRow("empty answer", f"{name} ends with the prompt")
    turns = list(messages)
    if first == "user" and turns[0]["role"] == "system":
        turns = turns[1:]
    expected = first
    for number, message in enumerate(turns, start=1 + len(messages) - len(turns)):
        if message["role"] != expected:
            raise BadRow("wrong role order", f"message {number} of {name} is {message['role']}, {expected} was due")
        expected = "user" if expected == "assistant" else "assistant"
    if not turns or turns[-1]["role"] != last:
        ends = turns[-1]["role"] if turns else "system"
        raise BadRow("wrong role order", f"{name} ends with {ends}, {last} was due")


def check_carried(row: Row, *, images: bool = False) -> None:
    """Columns that change what the model sees: none but `images`, where those are carried."""
    for name in NOT_CARRIED:
        if row.get(name) and not (images and name in IMAGES):
            raise BadRow("not carried", f"{name}; only text reaches the model")


def kind(value: Any) -> str:
    """What a value is, in words for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    for type_, name in ((str, "text"), (list, "a list"), (dict, "an object")):
        if isinstance(value, type_):
            return name
    return f"a {type(value).__name__}"

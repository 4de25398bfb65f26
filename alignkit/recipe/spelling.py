"""Suggestions for names that nobody knows."""

import difflib
from collections.abc import Iterable

LIST_AT_MOST = 12  # longer lists of choices help nobody in an error message


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """Choices that `name` may have been meant to be: the same but for case and dashes, abbreviated, or misspelt."""
    choices = list(choices)
    same = [choice for choice in choices if _plain(choice) == _plain(name)]
    if same:
        return same[:1]
    abbreviated = [choice for choice in choices if len(name) > 1 and choice.startswith(name)]
    if 1 <= len(abbreviated) <= 3:
        return abbreviated
    # among many names something always looks a little alike
    return difflib.get_close_matches(name, choices, n=1, cutoff=0.6 if len(choices) <= LIST_AT_MOST else 0.7)


def advice(name: str, choices: Iterable[str]) -> str:
    """What to write instead of `name`: the nearest choice, else all of them if they are few, else nothing."""
    choices = list(choices)
    near = nearest(name, choices)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"choose from {', '.join(choices)}" if 0 < len(choices) <= LIST_AT_MOST else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")

"""What a judge's reply says: a rating, a verdict, or nothing that can be relied on.

The form is FastChat's: `Rating: [[5]]`, `[[A]]`. FastChat takes the first number in double brackets, or else in single
ones, whatever it is; the first of [[A]], [[B]], [[C]] in this order that occurs anywhere. Where that is what the judge
means, this reading is the same; where it is not, it differs, and says so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", float, str)

LOWEST, HIGHEST = 1.0, 10.0

_DOUBLE = re.compile(r"\[\[\s*(\d+(?:\.\d*)?)(?:\s*/\s*10)?\s*\]\]")
_SINGLE = re.compile(r"(?:rating|score)\W{0,6}\[\s*(\d+(?:\.\d*)?)(?:\s*/\s*10)?\s*\](?!\])", re.IGNORECASE)
_LETTER = re.compile(r"\[\[([ABC])\]\]")
_ALONE = re.compile(r"\W*((my )?(final )?(rating|score|verdict|answer)\W*)?\[\[[^\[\]]*\]\]\W*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Graded(Generic[T]):
    """A rating from 1 to 10, or a verdict: A, B or tie."""

    value: T
    note: str | None = None  # why FastChat would read something else


@dataclass(frozen=True, kw_only=True)
class Ungraded:
    """A reply, or no reply, that gives no value; it is counted and never becomes a number."""

    reason: str
    asked: bool = True  # a reply came: the judge would say the same again


def read_rating(reply: str, shown: Sequence[str] = ()) -> Graded[float] | Ungraded:
    """The rating of a reply. `shown` are the texts that were judged: what the judge quotes of them is no rating."""
    found = _settled(_DOUBLE, reply, shown)
    if found is None:
        single = {*_marks(_SINGLE, reply)}
        found = single.pop() if len(single) == 1 else Ungraded(reason="the reply holds no rating")
    return found if isinstance(found, Ungraded) else graded_rating(float(found), reply)


def read_verdict(reply: str, shown: Sequence[str] = ()) -> Graded[str] | Ungraded:
    """The verdict of a reply: A, B or tie. `shown` as for `read_rating`."""
    found = _settled(_LETTER, reply, shown)
    if found is None:
        return Ungraded(reason="the reply holds no verdict")
    if isinstance(found, Ungraded):
        return found
    return graded_verdict("tie" if found == "C" else found, reply)


def graded_rating(value: float, judgment: str) -> Graded[float] | Ungraded:
    """A rating that a judgment means, with a note where FastChat reads another one there."""
    if not LOWEST <= value <= HIGHEST:
        return Ungraded(reason=f"the rating {value:g} is not between {LOWEST:g} and {HIGHEST:g}")
    theirs = fastchat_rating(judgment)
    note = None if theirs == value else f"FastChat reads {'nothing' if theirs == -1 else f'{theirs:g}'}"
    return Graded(value=value, note=note)


def graded_verdict(value: str, judgment: str) -> Graded[str]:
    """A verdict that a judgment means, with a note where FastChat reads another one there."""
    theirs = fastchat_verdict(judgment)
    return Graded(value=value, note=None if theirs == value else f"FastChat reads {theirs}")


def fastchat_rating(reply: str) -> float:
    """What FastChat's regular expressions find; -1 where they find nothing, or what its reader stumbles over."""
    match = re.search(r"\[\[(\d+\.?\d*)\]\]", reply) or re.search(r"\[(\d+\.?\d*)\]", reply)
    if match is None or re.fullmatch(r"0\d+", match.group(1)):
        return -1.0
    return float(match.group(1))


def fastchat_verdict(reply: str) -> str:
    """What FastChat finds: A, B, tie or error."""
    verdicts = {"[[A]]": "A", "[[B]]": "B", "[[C]]": "tie"}
    return next((verdict for mark, verdict in verdicts.items() if mark in reply), "error")


def _settled(pattern: re.Pattern[str], reply: str, shown: Sequence[str]) -> str | Ungraded | None:
    """The one mark that the reply agrees on, None without any.

    What stands in the judged texts as well may be quoted. It counts only on a last line that holds nothing else, which
    also decides where marks contradict each other.
    """
    marks = _marks(pattern, reply)
    quoted = {mark for text in shown for mark in _marks(pattern, text)}
    own = [mark for mark in marks if mark not in quoted]
    if len({*own}) == 1:
        return own[0]
    last = reply.rstrip().rpartition("\n")[2]
    at_end = {*_marks(pattern, last)} if _ALONE.fullmatch(last) else set()
    if len(at_end) == 1:
        return at_end.pop()
    if not marks:
        return None
    seen = ", ".join(f"[[{mark}]]" for mark in dict.fromkeys(marks))
    return Ungraded(reason=f"the reply says several things: {seen}" if own else f"the reply only quotes {seen}")


def _marks(pattern: re.Pattern[str], text: str) -> list[str]:
    return [_plain(match.group(1)) for match in pattern.finditer(text)]


def _plain(mark: str) -> str:
    """A number in one spelling: 8 for 08 and 8.0."""
    return mark if mark.isalpha() else f"{float(mark):g}"

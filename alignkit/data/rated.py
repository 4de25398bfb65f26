"""Answers with scores, as people or judges rate them: the pairs and the ranking that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, get_args

from alignkit.data.errors import BadRow
from alignkit.data.rows import Row, checked_number, kind, present

Ties = Literal["error", "drop", "half"]
TIES: tuple[str, ...] = get_args(Ties)

OF_PAIRS = ("score_chosen", "score_rejected", "margin")  # columns that follow from the scores of a pair
ALL_TIED = "all scores are equal"  # reason of a row that ties: drop leaves nothing of


def checked_scores(row: Row, count: int) -> list[float]:
    """A finite number for each of so many answers. Raises BadRow."""
    values = present(row, "scores")
    if not isinstance(values, list):
        raise BadRow("not a list of scores", f"scores is {kind(values)}")
    if len(values) != count:
        raise BadRow("not a score for each answer", f"{count} answers and {len(values)} scores")
    named = {f"score {number}": value for number, value in enumerate(values, start=1)}
    for name, value in named.items():
        if value is None:
            raise BadRow("not a number", f"{name} is null")
    return [checked_number(named, name) for name in named]


def rated_pairs(scores: Sequence[float], ties: Ties) -> list[tuple[int, int]]:
    """Positions (better, worse) of every two answers; those of equal scores as `ties` says, in their order."""
    found = []
    for first, second in combinations(range(len(scores)), 2):
        if scores[first] == scores[second] and not _keeps(first, second, scores, ties):
            continue
        found.append((second, first) if scores[first] < scores[second] else (first, second))
    return found


def rated_ranking(scores: Sequence[float], ties: Ties) -> list[int]:
    """Positions from the best to the worst. Of equal scores the first stays, as a ranking has no room for ties.

    What is left is a ranking of fewer answers, to which Plackett-Luce gives the same probability whatever was left out.
    """
    found: list[int] = []
    for number in sorted(range(len(scores)), key=lambda number: -scores[number]):
        if not found or scores[found[-1]] > scores[number] or _keeps(found[-1], number, scores, ties):
            found.append(number)
    return found if len(found) > 1 else []


def _keeps(first: int, second: int, scores: Sequence[float], ties: Ties) -> bool:
    """Whether two answers of equal scores are compared. Raises BadRow where the recipe does not say."""
    if ties == "error":
        both = f"answers {first + 1} and {second + 1} both have {scores[first]:g}"
        raise BadRow("tied scores", f"{both}; write data.ties: drop, or half where the method reads scores")
    return ties == "half"

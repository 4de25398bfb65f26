"""Which rows an epoch holds, and in which order: hold-out, weights, shuffle.

Everything here is arithmetic on row numbers, drawn from the seed and the sources' contents alone: no process, rank,
hash seed, folder or library version changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alignkit.data.errors import DataError

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The usable rows of one training source."""

    rows: Numbers  # row numbers in the joined training tables
    groups: NDArray[np.int64]  # of each row; equal where the prompt is
    weight: float
    label: str  # for messages
    fingerprint: str  # draws the rows of a fractional weight: paths differ between machines, contents do not


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Row numbers in the joined training tables."""

    order: Numbers  # the rows of an epoch; a row occurs as often as its source's weight says
    held_out: Numbers  # rows set aside, ascending


def plan(parts: Sequence[Part], *, holdout: float, seed: int) -> Plan:
    """Hold out first, then weigh what is left, then shuffle."""
    rows = np.concatenate([part.rows for part in parts])
    groups = np.concatenate([part.groups for part in parts])
    aside = rows[held_out(groups, holdout, seed)] if holdout else rows[:0]
    epoch = np.concatenate([weighted(part, np.setdiff1d(part.rows, aside), seed) for part in parts])
    return Plan(order=epoch[permutation(len(epoch), seed, "shuffle")], held_out=aside)


def permutation(n: int, *key: object) -> Numbers:
    """The numbers 0 to n - 1 in an order drawn from the key.

    Sorts raw bits because numpy promises to keep those from version to version, and its shuffles not.
    """
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:16], "big")
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def held_out(groups: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Marks about `fraction` of the rows, all rows of a group (a prompt) together: at least one group, never all."""
    names, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise DataError(f"holdout = {fraction}: all rows have the same prompt, so none can be set aside; remove it")
    order = permutation(len(names), seed, "holdout")
    rows_taken = np.cumsum(sizes[order])
    groups_taken = int(np.argmin(np.abs(rows_taken - fraction * len(groups)))) + 1
    marked = np.zeros(len(names), dtype=bool)
    marked[order[: min(groups_taken, len(names) - 1)]] = True
    return marked[group_of_row]


def weighted(part: Part, rows: Numbers, seed: int) -> Numbers:
    """The rows, repeated whole as often as the weight says; what remains of it is a seeded part of them."""
    if not len(rows):
        raise DataError(f"holdout took every row of {part.label}; give it more rows or a smaller holdout")
    wanted = round(part.weight * len(rows))
    if not wanted:
        least = f"{1 / len(rows):.2g}"
        raise DataError(f"weight = {part.weight} of the {len(rows)} rows of {part.label} is no row; write {least}")
    whole, rest = divmod(wanted, len(rows))
    drawn = np.sort(permutation(len(rows), seed, "weight", part.fingerprint)[:rest])
    return np.concatenate([np.tile(rows, whole), rows[drawn]])

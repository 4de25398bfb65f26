"""Which rows an epoch holds, and in which order: hold-out, weights, shuffle.

Everything here is arithmetic on row numbers, drawn from the seed and the sources' names alone: no process, rank, hash
seed or library version changes it.
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
class Plan:
    """Row numbers in the joined training tables."""

    order: Numbers  # the rows of an epoch; a row occurs as often as its source's weight says
    held_out: Numbers  # rows set aside, ascending


def plan(
    rows: Sequence[Numbers],
    groups: Sequence[NDArray[np.int64]],
    weights: Sequence[float],
    labels: Sequence[str],
    *,
    holdout: float,
    seed: int,
) -> Plan:
    """Hold out first, then weigh what is left, then shuffle. One entry of each sequence is one source."""
    aside = held_out(np.concatenate(groups), holdout, seed) if holdout else np.zeros(sum(map(len, rows)), dtype=bool)
    by_source = np.split(aside, np.cumsum([len(part) for part in rows])[:-1])
    left = [part[~out] for part, out in zip(rows, by_source, strict=True)]
    epoch = [weighted(*one, seed) for one in zip(left, weights, labels, strict=True)]
    every = np.concatenate(epoch)
    return Plan(order=every[permutation(len(every), seed, "shuffle")], held_out=np.concatenate(rows)[aside])


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


def weighted(rows: Numbers, weight: float, label: str, seed: int) -> Numbers:
    """The rows, repeated whole as often as `weight` says; what remains of it is a seeded part of them."""
    wanted = round(weight * len(rows))
    if not len(rows):
        raise DataError(f"holdout took every row of {label}; give it more rows or a smaller holdout")
    if not wanted:
        raise DataError(f"weight = {weight} of the {len(rows)} rows of {label} is no row; write {1 / len(rows):.2g}")
    whole, rest = divmod(wanted, len(rows))
    part = np.sort(permutation(len(rows), seed, "weight", label)[:rest])
    return np.concatenate([np.tile(rows, whole), rows[part]])

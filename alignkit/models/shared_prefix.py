"""Every shared token once: a batch as one sequence, in which what rows have in common at their beginning lies once.

Chosen and rejected answers, the G answers of a group, an answer read under several prompts: rows that begin alike have
the same hidden states there, whatever follows. So the rows are sorted, and each computes only where it departs from
the row before it:

    row 0   prompt a ......, answer 1 ...        run 0: all of it
    row 1   prompt a ......, answer 2 ..         run 1: answer 2, which attends to itself and to prompt a in run 0
    row 2   prompt b ..., answer 3 .....         run 2: all of it

The runs lie end to end without padding, and every layer but attention simply sees one sequence of fewer tokens.
Attention (`run_attention.py`) is told what each run has before it. Nothing is kept between calls and nothing is
approximated: gradients of all rows meet in the tokens they share, and gradient checkpointing recomputes the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHORTEST = 16  # tokens that rows must have in common; fewer save less than the copy of their keys costs

Path = tuple[tuple[int, int], ...]  # (run, how many of its first tokens), in order: what a row consists of


@dataclass(frozen=True, kw_only=True)
class Run:
    """Tokens that lie side by side, and what their row has before them."""

    before: Path
    start: int  # tokens before
    length: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """The rows of a batch as one sequence of L tokens."""

    input_ids: Tensor  # (1, L)
    position_ids: Tensor  # (1, L), in the row
    places: Tensor  # (N, T) where each token of the batch lies in the sequence; -1: left out
    rows: Tensor  # (1, L) how many rows a token belongs to
    runs: tuple[Run, ...]
    made: dict[Any, Any] = field(default_factory=dict)  # what attention derives from the runs, once for all layers


def pack(inputs: Mapping[str, Tensor], asked: Tensor, *, share: bool = True, trim: bool = True) -> Packed:
    """Pack the texts in the rows of `input_ids` (N, T).

    Args:
        inputs: `input_ids`, and `attention_mask`, or `position_ids` where rows hold several texts, each from 0 on.
        asked: (N, T) bool, the hidden states that are wanted.
        share: otherwise every text is a run, still without padding.
        trim: leave out the tokens that no wanted hidden state depends on.
    """
    ids, wanted = inputs["input_ids"].numpy(force=True), asked.numpy(force=True)
    kept = [(row, columns[: _end(wanted[row, columns])] if trim else columns) for row, columns in _texts(inputs)]
    texts = [text for text in kept if len(text[1])] or [(0, np.arange(1))]  # hooks of a wrapper wait for some forward
    places = np.full(ids.shape, -1)
    runs: list[Run] = []
    path: Path = ()
    tokens = at = np.zeros(0, dtype=int)  # of the text before, and where they lie
    length = 0
    for text in sorted(texts, key=lambda text: ids[text].astype(">u4").tobytes()):
        before, tokens = tokens, ids[text]
        start = _common(before, tokens) if share else 0
        own = len(tokens) - start
        places[text] = at = np.concatenate((at[:start], np.arange(length, length + own)))
        path = _beginning(path, start)
        if own:
            runs.append(Run(before=path, start=start, length=own))
            path = (*path, (len(runs) - 1, own))
        length += own
    return _packed(ids, places, runs, inputs["input_ids"].device)


def _packed(ids: NDArray, places: NDArray, runs: list[Run], device: torch.device) -> Packed:
    used = places[places >= 0]
    table = np.zeros((3, sum(run.length for run in runs)), dtype=np.int64)
    table[0, used] = ids[places >= 0]
    table[1] = np.concatenate([run.start + np.arange(run.length) for run in runs])
    table[2] = np.bincount(used, minlength=table.shape[1])
    input_ids, position_ids, rows = torch.from_numpy(table).to(device).split(1)
    return Packed(
        input_ids=input_ids,
        position_ids=position_ids,
        places=torch.from_numpy(places).to(device),
        rows=rows,
        runs=tuple(runs),
    )


def _texts(inputs: Mapping[str, Tensor]) -> Iterator[tuple[int, NDArray]]:
    """Row and columns of every text."""
    shape = inputs["input_ids"].shape
    if "position_ids" in inputs:
        for row, positions in enumerate(inputs["position_ids"].expand(shape).numpy(force=True)):
            starts = np.flatnonzero(positions == 0)
            yield from ((row, columns) for columns in np.split(np.arange(shape[1]), starts) if len(columns))
    elif "attention_mask" in inputs:
        for row, mask in enumerate(inputs["attention_mask"].numpy(force=True)):
            yield row, np.flatnonzero(mask)
    else:
        yield from ((row, np.arange(shape[1])) for row in range(shape[0]))


def _end(wanted: NDArray) -> int:
    """Tokens up to the last wanted one."""
    found = np.flatnonzero(wanted)
    return int(found[-1]) + 1 if len(found) else 0


def _common(one: NDArray, other: NDArray) -> int:
    """Tokens that both begin with, if worth it."""
    shorter = min(len(one), len(other))
    different = np.flatnonzero(one[:shorter] != other[:shorter])
    length = int(different[0]) if len(different) else shorter
    return length if length >= SHORTEST else 0


def _beginning(path: Path, length: int) -> Path:
    """The first tokens of a path."""
    kept: list[tuple[int, int]] = []
    for run, tokens in path:
        kept.append((run, min(tokens, length)))
        length -= kept[-1][1]
        if length == 0:
            break
    return tuple(piece for piece in kept if piece[1])

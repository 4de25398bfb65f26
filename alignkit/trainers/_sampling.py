"""The order in which unpaired answers are trained, and the answer to another prompt that each prompt is read with.

KTO estimates a KL divergence from answers to other prompts. Both choices are made here for the micro-batch on all
ranks, from a seed, before it is split: no rank, worker or rerun changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from alignkit.data.mix import permutation

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What has to be known about the rows of an unpaired dataset, in their order."""

    desirable: NDArray[np.bool_]
    prompts: Numbers  # equal where the prompt is

    @classmethod
    def of(cls, dataset: Dataset) -> Answers:
        """From the columns that TRL makes: label and prompt_ids."""
        numbers: dict[tuple[int, ...], int] = {}
        prompts = [numbers.setdefault(tuple(row["prompt_ids"]), len(numbers)) for row in _column(dataset, "prompt_ids")]
        return cls(
            desirable=np.array([row["label"] for row in _column(dataset, "label")], dtype=bool),
            prompts=np.array(prompts, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.desirable)

    def check(self, block: int) -> None:
        """Refuse rows of one class or one prompt, and a class too rare for every block of the training order.

        Raises:
            ValueError: nothing could be learnt, or some micro-batches would hold one class only.
        """
        names = {True: "desirable", False: "undesirable"}
        counts = {label: int((self.desirable == label).sum()) for label in names}
        for label, count in counts.items():
            if not count:
                raise ValueError(f"all {len(self)} answers are {names[not label]}; this method learns from both kinds")
        if (self.prompts == self.prompts[0]).all():
            raise ValueError("all answers have the same prompt; the KL estimate needs answers to other prompts")
        label = min(counts, key=lambda key: counts[key])
        blocks = -(-len(self) // block)
        if counts[label] < blocks:
            raise ValueError(
                f"{counts[label]} {names[label]} answers among {len(self)} cannot be in each of {blocks} micro-batches "
                f"of {block} (on all devices together); at least {-(-len(self) // counts[label])} would do: raise "
                "train.per_device_train_batch_size, or the weight of a source that holds more of them"
            )


@dataclass(frozen=True, kw_only=True)
class BothClasses(Sampler[tuple[int, int]]):
    """Pairs (row, row of the mismatched answer), whose consecutive blocks are the micro-batches on all ranks.

    Each epoch shuffles both classes and spreads them evenly: any n rows on end hold a class's share of n, rounded down
    at the least. The last block holds what is left, maybe of one class.
    """

    answers: Answers
    block: int  # rows of a micro-batch on all ranks
    seed: int
    epoch: Callable[[], int]  # asked at the start of each pass, so that a resumed run continues its own order

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = spread(self.answers.desirable, self.seed, self.epoch())
        return iter(list(zip(order.tolist(), mismatched(order, self.answers.prompts, self.block), strict=True)))


class Mismatched(TorchDataset):
    """Tokenized rows, looked up by such pairs: a row with the answer of another one in KL_completion_ids."""

    def __init__(self, rows: Dataset) -> None:
        self.rows = rows
        self.answers = Answers.of(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, pair: tuple[int, int]) -> dict:
        row, partner = pair
        return {**self.rows[row], "KL_completion_ids": self.rows[partner]["completion_ids"]}


def spread(desirable: NDArray[np.bool_], seed: int, epoch: int) -> Numbers:
    """All row numbers, shuffled within their class and the classes evenly interleaved."""
    rows = {label: np.flatnonzero(desirable == label) for label in (True, False)}
    shuffled = {label: of[permutation(len(of), seed, "answers", epoch, label)] for label, of in rows.items()}
    length = len(desirable)
    start = int(permutation(length, seed, "interleave", epoch)[0])
    up = np.diff((np.arange(length + 1) * len(rows[True]) + start) // length).astype(bool)
    order = np.empty(length, dtype=np.int64)
    order[up], order[~up] = shuffled[True], shuffled[False]
    return order


def mismatched(order: Numbers, prompts: Numbers, block: int) -> list[int]:
    """For each row the nearest one before it that has another prompt: in its block taken as a circle, else anywhere.

    Where no two prompts of a block are the same, these are the block's own answers, moved on by one, as in TRL.
    """
    partners: list[int] = []
    for start in range(0, len(order), block):
        rows = order[start : start + block]
        before = np.roll(rows, 1)
        for place in np.flatnonzero(prompts[before] == prompts[rows]):
            others = np.concatenate((_backwards(rows, int(place)), _backwards(order, start + int(place))))
            before[place] = others[np.argmax(prompts[others] != prompts[rows[place]])]
        partners += before.tolist()
    return partners


def _backwards(circle: Numbers, place: int) -> Numbers:
    return np.concatenate((circle[:place][::-1], circle[place:][::-1]))


def _column(dataset: Dataset, name: str) -> Dataset:
    return dataset.select_columns([name])

"""The last batch of an epoch, which may not go round all ranks.

accelerate fills it up with rows from the epoch's start, which would count twice. Here the ranks without rows get one
that weighs nothing: they take part in what all ranks do together, and add 0 to every sum and count.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

WEIGHT = "rows_weight"  # key of a batch: 1, or 0 where its row only stands in; absent on one process

Inputs = dict[str, Any]


class EvenBatches(BatchSampler):
    """The batches of another sampler, then empty ones until all ranks have the same number."""

    def __init__(self, batches: BatchSampler, ranks: int) -> None:
        super().__init__(batches.sampler, batches.batch_size, drop_last=False)
        self.ranks = ranks

    def __iter__(self) -> Iterator[list]:
        number = 0
        for batch in super().__iter__():
            number += 1
            yield batch
        yield from [[]] * (-number % self.ranks)

    def __len__(self) -> int:
        return -(-super().__len__() // self.ranks) * self.ranks


@dataclass(frozen=True)
class StandIn:
    """A collator that makes a batch of one row, without weight, from no rows at all."""

    collator: Callable[[list[Inputs]], Inputs]
    row: Inputs

    def __call__(self, examples: list[Inputs]) -> Inputs:
        return {**self.collator(examples or [self.row]), WEIGHT: torch.tensor(int(bool(examples)))}


def each_row_once(loader: Any, row: Any) -> DataLoader:
    """accelerate's loader, filling up no batch; the dataset's `row` stands in on a rank that has none left.

    Streams, which have no sampler to look ahead in, are left as they are.
    """
    shard = loader.batch_sampler
    if not isinstance(shard, BatchSamplerShard) or shard.num_processes == 1 or shard.drop_last or shard.split_batches:
        return loader
    if not isinstance(shard.batch_sampler, EvenBatches):  # transformers may keep a loader for the next evaluation
        shard.batch_sampler = EvenBatches(shard.batch_sampler, shard.num_processes)
        shard.batch_size = None  # batches of any length, of which accelerate fills up none
        own = loader.base_dataloader
        own.collate_fn = StandIn(own.collate_fn, loader.dataset[row])
    return loader


def weight_of(inputs: Inputs) -> Tensor | int:
    """What the rows of a batch weigh, 1 or 0."""
    return inputs.get(WEIGHT, 1)

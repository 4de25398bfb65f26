"""Every row once in an epoch, whatever the number of rows, processes and rows of a micro-batch."""

import pytest
import torch
from accelerate import skip_first_batches
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader

from alignkit.trainers._last_batch import WEIGHT, EvenBatches, each_row_once

SIZES = [(rows, ranks, micro) for rows in (1, 2, 5, 8, 9, 11) for ranks in (1, 2, 3) for micro in (1, 2, 4)]


def loader(rows, ranks, rank, micro, drop_last=False):
    """As transformers prepares it: shuffled by a seed, shared out by accelerate, and then ours."""
    torch.manual_seed(5)  # ranks that start alike shuffle alike
    plain = DataLoader(
        Dataset.from_dict({"row": range(rows)}),
        batch_size=micro,
        shuffle=True,
        drop_last=drop_last,
        collate_fn=lambda examples: {"rows": torch.tensor([example["row"] for example in examples])},
    )
    shared = prepare_data_loader(plain, num_processes=ranks, process_index=rank, use_seedable_sampler=True)
    return each_row_once(shared, 0)


def steps(loaders):
    """Rows with weight of each micro-batch on all ranks, in the order of the ranks."""
    return [
        [row for batch in at_once for row in batch["rows"].tolist() if batch.get(WEIGHT, 1)]
        for at_once in zip(*loaders, strict=True)
    ]


@pytest.mark.parametrize(("rows", "ranks", "micro"), SIZES)
def test_all_ranks_together_are_one_process(rows, ranks, micro):
    shared = [loader(rows, ranks, rank, micro) for rank in range(ranks)]
    assert {len(one) for one in shared} == {-(-rows // (micro * ranks))}
    assert steps(shared) == steps([loader(rows, 1, 0, micro * ranks)])
    again = steps(shared)  # the next epoch
    assert sorted(row for step in again for row in step) == list(range(rows))


def test_a_rank_without_rows_gets_one_that_weighs_nothing():
    *_, last = loader(9, 2, 1, 4)
    assert (last["rows"].tolist(), last[WEIGHT].item()) == ([0], 0)
    *_, last = loader(9, 2, 0, 4)
    assert last[WEIGHT].item() == 1
    assert len(last["rows"]) == 1


def test_what_was_trained_is_skipped_after_a_resume():
    whole = [batch["rows"].tolist() for batch in loader(9, 2, 1, 2)]
    assert [batch["rows"].tolist() for batch in skip_first_batches(loader(9, 2, 1, 2), 2)] == whole[2:]
    assert len(whole) == 3


def test_loaders_that_need_nothing_are_left_alone():
    assert WEIGHT not in next(iter(loader(9, 1, 0, 4)))
    dropping = loader(9, 2, 0, 4, drop_last=True)
    assert not isinstance(dropping.batch_sampler.batch_sampler, EvenBatches)
    ours = loader(9, 2, 0, 4)
    batches = ours.batch_sampler.batch_sampler
    assert each_row_once(ours, 0).batch_sampler.batch_sampler is batches

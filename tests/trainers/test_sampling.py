"""The order of unpaired answers, for every number of rows, share of classes and size of micro-batch."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.trainers._sampling import Answers, BothClasses, mismatched, spread


def answers(desirable, prompts):
    return Answers(desirable=np.array(desirable, dtype=bool), prompts=np.array(prompts, dtype=np.int64))


def sampled(known, block, epoch=0, seed=0):
    return list(BothClasses(answers=known, block=block, seed=seed, epoch=lambda: epoch))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 9), st.integers(0, 3))
def test_rows_are_spread_so_that_both_classes_meet(labels, block, epoch):
    labels += [True, False]
    known = answers(labels, range(len(labels)))
    rows = [row for row, _ in sampled(known, block, epoch)]
    assert sorted(rows) == list(range(len(labels)))
    whole = len(rows) - len(rows) % block  # the last block is what is left
    blocks = np.array(labels)[rows][:whole].reshape(-1, block)
    try:
        known.check(block)
    except ValueError:
        return
    assert blocks.any(axis=1).all()
    assert not blocks.all(axis=1).any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40), st.integers(2, 9))
def test_partners_answer_another_prompt(rows, block):
    labels, prompts = zip(*[*rows, (True, 6), (False, 7)], strict=True)
    known = answers(labels, prompts)
    pairs = sampled(known, block)
    assert Counter(row for row, _ in pairs) == Counter(range(len(labels)))
    for start in range(0, len(pairs), block):
        inside = pairs[start : start + block]
        here = {row for row, _ in inside}
        for row, partner in inside:
            assert prompts[row] != prompts[partner]
            assert partner in here or len({prompts[other] for other in here}) == 1


def test_distinct_prompts_are_moved_on_by_one_as_in_trl():
    order = np.array([3, 0, 2, 5, 1, 4])
    assert mismatched(order, np.arange(6), 3) == [2, 3, 0, 4, 5, 1]


def test_the_nearest_row_before_with_another_prompt_is_taken():
    prompts = np.array([7, 7, 8, 7])
    assert mismatched(np.arange(4), prompts, 4) == [2, 2, 1, 2]


def test_a_block_of_one_prompt_looks_outside():
    prompts = np.array([7, 7, 8, 9])
    assert mismatched(np.arange(4), prompts, 2) == [3, 3, 3, 2]


def test_three_in_ten_are_three_in_every_ten():
    desirable = np.arange(100) < 30
    for epoch in range(5):
        order = spread(desirable, seed=0, epoch=epoch)
        assert sorted(order) == list(range(100))
        assert set(desirable[order].reshape(10, 10).sum(axis=1)) == {3}


def test_neither_epochs_nor_seeds_repeat():
    known = answers([True, False] * 10, range(20))
    orders = [tuple(sampled(known, 4, epoch, seed)) for epoch in range(3) for seed in range(3)]
    assert len(set(orders)) == 9


def test_the_length_is_known_beforehand():
    sampler = BothClasses(answers=answers([True] * 4 + [False] * 3, range(7)), block=4, seed=0, epoch=lambda: 0)
    assert len(sampler) == len(list(sampler)) == 7

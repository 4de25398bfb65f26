import numpy as np
import pytest

from alignkit.data import mix
from alignkit.data.errors import DataError

A, B = np.arange(10), np.arange(10, 30)


def part(rows, weight=1.0, name="b"):
    return mix.Part(rows=rows, groups=rows, weight=weight, label=f"{name}.jsonl", fingerprint=f"sha256 of {name}")


def plan(holdout=0.0, seed=0, weights=(1.0, 1.0)):
    return mix.plan([part(A, weights[0], "a"), part(B, weights[1])], holdout=holdout, seed=seed)


def weighted(weight, seed=0, name="b"):
    return mix.weighted(part(B, weight, name), B, seed)


def fails(call, *args):
    with pytest.raises(DataError) as error:
        call(*args)
    return str(error.value)


def test_a_permutation_is_fixed_by_its_key_for_all_time():
    assert mix.permutation(8, 0, "shuffle").tolist() == [2, 5, 3, 0, 1, 6, 7, 4]
    assert sorted(mix.permutation(1000, 1)) == list(range(1000))
    assert mix.permutation(1000, 1).tolist() != mix.permutation(1000, 2).tolist()
    assert mix.permutation(0, 1).tolist() == []


def test_every_row_is_used_once_in_a_mixed_order():
    order = plan().order
    assert sorted(order) == list(range(30))
    assert 0 < np.sum(order[:15] < 10) < 10
    assert order.tolist() == plan().order.tolist()
    assert order.tolist() != plan(seed=1).order.tolist()


@pytest.mark.parametrize("weight", [0.5, 1.0, 1.25, 2.0, 3.1])
def test_a_weight_is_rows_per_epoch(weight):
    times = np.bincount(weighted(weight), minlength=30)[10:]
    assert times.sum() == round(weight * 20)
    assert set(times) <= {int(weight), int(weight) + 1}


def test_the_part_that_a_weight_takes_is_seeded_and_does_not_depend_on_other_sources():
    half = set(weighted(0.5))
    assert half != set(weighted(0.5, seed=1))
    assert half != set(weighted(0.5, name="c"))
    assert half == {row for row in plan(weights=(1.0, 0.5)).order if row >= 10}
    assert half == {row for row in plan(weights=(3.0, 0.5)).order if row >= 10}


def test_a_weight_that_takes_no_row_is_an_error():
    message = "weight = 0.01 of the 20 rows of b.jsonl is no row; write 0.05"
    assert fails(weighted, 0.01) == message


def test_held_out_rows_are_not_trained_on_however_often_rows_repeat():
    found = plan(holdout=0.2, weights=(3.0, 1.0))
    assert len(found.held_out) == 6
    assert found.held_out.tolist() == sorted(found.held_out)
    assert not set(found.held_out) & set(found.order)
    assert set(found.held_out) | set(found.order) == set(range(30))


def test_rows_with_the_same_prompt_are_held_out_together():
    groups = np.repeat(np.arange(6), 5)
    marked = mix.held_out(groups, 0.3, seed=0)
    assert marked.sum() == 10
    assert all(len(set(marked[groups == group])) == 1 for group in range(6))


def test_the_held_out_prompts_do_not_depend_on_the_order_of_rows():
    groups = np.array([7, 3, 9, 1, 5, 2, 8, 4])
    one = set(groups[mix.held_out(groups, 0.4, seed=0)])
    assert one == set(groups[::-1][mix.held_out(groups[::-1], 0.4, seed=0)])
    assert len(one) == 3


def test_a_holdout_takes_at_least_one_prompt_and_leaves_at_least_one():
    assert mix.held_out(np.arange(5), 0.001, 0).sum() == 1
    assert mix.held_out(np.arange(5), 0.999, 0).sum() == 4
    message = "holdout = 0.5: all rows have the same prompt, so none can be set aside; remove it"
    assert fails(mix.held_out, np.zeros(4, dtype=np.int64), 0.5, 0) == message


def test_a_holdout_that_takes_a_whole_source_is_an_error():
    parts = [part(np.array([0]), name="a"), part(np.array([1]))]
    message = r"^holdout took every row of [ab]\.jsonl; give it more rows or a smaller holdout$"
    with pytest.raises(DataError, match=message):
        mix.plan(parts, holdout=0.5, seed=0)

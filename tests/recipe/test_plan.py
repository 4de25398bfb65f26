import json

import pytest

from alignkit.data.errors import DataError
from alignkit.recipe import load
from alignkit.recipe.plan import plan
from alignkit.recipe.preview import preview

RECIPE = """
objective: {{name: {name}}}
model: {{path: "tiny:llama"}}
data: {{train: [{{source: rows.jsonl}}]}}
train: {{output_dir: runs, per_device_train_batch_size: 2, global_batch_size: 4, max_length: 20}}
"""
PAIRS = [{"prompt": "2 + 2 =", "chosen": " 4", "rejected": " five"}] * 6
TEXTS = [{"text": "x" * 9}] * 12


@pytest.fixture
def check(write):
    """The lines of a plan, by name."""

    def check(name, rows, *overrides, processes=1, report=None):
        write("".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
        recipe = load(write(RECIPE.format(name=name)), list(overrides))
        return dict(plan(recipe, preview(recipe, processes), processes, report).rows())

    return check


def test_pairs_are_counted_in_examples_sequences_and_tokens(check):
    """A pair has 10 + 13 tokens, end tokens included."""
    found = check("dpo", PAIRS)
    assert found["objective"] == "DPO(beta=0.1)"
    assert found["examples an epoch"] == "6"
    assert found["batch"] == ("4 examples, 8 sequences, about 92 tokens: 2 a device x 2 accumulated x 1 processes")
    assert found["optimiser steps"] == "6 (3 epochs)"
    assert found["tokens"] == "about 138 an epoch, 23 in each of the examples"


def test_pairs_are_read_three_times_where_revisions_are_learned(check):
    found = check("srpo", PAIRS)
    assert found["batch"].startswith("4 examples, 24 sequences, at least 276 tokens: ")
    assert found["tokens"] == "at least 414 an epoch, 69 in each of the examples"


def test_processes_change_the_accumulation_and_not_the_batch(check):
    assert check("dpo", PAIRS, processes=2)["batch"].endswith("2 a device x 1 accumulated x 2 processes")
    with pytest.raises(ValueError, match="global_batch_size = 4 is no multiple of 2 examples on each of 3 processes"):
        check("dpo", PAIRS, processes=3)


def test_tokens_are_counted_after_truncation(check):
    rows = [*PAIRS[:5], {"prompt": "2 + 2 =", "chosen": "4" * 100, "rejected": " five"}]
    assert check("dpo", rows)["tokens"] == f"about {23 * 5 + 20 + 13} an epoch, 25 in each of the examples"


def test_packed_sequences_are_fewer_than_examples(check):
    found = check("nll", TEXTS, "train.packing=true", "train.max_steps=9")
    assert found["examples an epoch"] == "12 in about 6 packed sequences"
    assert found["optimiser steps"] == "9 (4.5 epochs)"
    assert found["tokens"] == "about 120 an epoch, 20 in each of the packed sequences"


def test_the_report_is_handed_over_before_it_is_judged(check):
    seen = []
    with pytest.raises(DataError, match="max_truncated"):
        check("nll", [{"text": "x" * 99}], "data.max_truncated=0", report=seen.append)
    assert seen[0].sets[0].report.total.truncated == 1


def test_examples_that_will_be_dropped_are_not_counted(check):
    rows = [*PAIRS, {"prompt": "x" * 30, "chosen": "y", "rejected": "z"}]
    assert check("dpo", rows, "data.on_bad_rows=drop")["examples an epoch"] == "6"


def test_streams_are_not_counted(check):
    with pytest.raises(ValueError, match=r"write data.streaming=false for the check"):
        check("nll", TEXTS, "data.streaming=true", "train.max_steps=1")

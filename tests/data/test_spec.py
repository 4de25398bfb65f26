import math
import re
from dataclasses import FrozenInstanceError

import pytest

from alignkit.data import DataSpec, Source

FILE = Source(source="a.jsonl")


def test_defaults_read_everything_once_and_stop_at_bad_rows():
    spec = DataSpec(train=[FILE])
    assert (spec.train, spec.eval) == ((FILE,), ())
    assert (FILE.split, FILE.format, FILE.weight, FILE.limit) == ("train", "auto", 1.0, None)
    assert (spec.holdout, spec.seed, spec.on_bad_rows, spec.streaming, spec.label_noise) == (0, 0, "error", False, 0)


def test_specs_are_frozen():
    with pytest.raises(FrozenInstanceError):
        FILE.weight = 2.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": " "}, "source is empty; write a path or the id of a dataset on the Hub"),
        ({"split": ""}, "split is empty; write the name of a split, such as train"),
        ({"format": "share_gpt"}, "no format named 'share_gpt'; did you mean 'sharegpt'?"),
        (
            {"format": "x"},
            "no format named 'x'; write one of auto, prompt, messages, sharegpt, alpaca, implicit, text",
        ),
        ({"weight": 0.0}, "weight = 0.0 must be a positive number; remove the source to leave it out"),
        ({"weight": math.nan}, "weight = nan must be a positive number; remove the source to leave it out"),
        ({"weight": math.inf}, "weight = inf must be a positive number; remove the source to leave it out"),
        ({"limit": 0}, "limit = 0 must be at least 1; remove it to read every row"),
    ],
)
def test_a_source_out_of_range_says_what_to_write(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Source(**{"source": "a.jsonl", **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": []}, "train has no sources; write train: [{source: FILE}]"),
        ({"holdout": 1.0}, "holdout = 1.0 must be a fraction from 0 up to, not including, 1; 0.1 is 10 %"),
        ({"holdout": math.nan}, "holdout = nan must be a fraction from 0 up to, not including, 1; 0.1 is 10 %"),
        ({"seed": -1}, "seed = -1 must not be negative; write 0 or more"),
        ({"on_bad_rows": "skip"}, "on_bad_rows = 'skip' is not known; write error or drop"),
        ({"label_noise": 25}, "label_noise = 25 must be a fraction from 0 to 1; 0.25 turns a quarter"),
        (
            {"holdout": 0.1, "eval": [FILE]},
            "holdout and eval are both given; keep the one that the evaluation is to use",
        ),
        (
            {"holdout": 0.1, "streaming": True},
            "holdout needs the whole data set, which streaming never sees; remove one of the two",
        ),
        (
            {"label_noise": 0.1, "streaming": True},
            "label_noise needs the whole data set, which streaming never sees; remove one of the two",
        ),
        (
            {"eval": [Source(source="b.jsonl", weight=2.0)]},
            "eval: weight = 2.0 of b.jsonl is for training; remove it",
        ),
    ],
)
def test_a_data_section_out_of_range_says_what_to_write(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DataSpec(**{"train": [FILE], **fields})


@pytest.mark.parametrize(("written", "share"), [("1%", 0.01), ("0.5 %", 0.005), (0.01, 0.01), ("0.01", 0.01), (0, 0)])
def test_limits_are_written_as_percentages_or_fractions(written, share):
    assert DataSpec(train=[FILE], max_truncated=written).max_truncated == pytest.approx(share)
    assert DataSpec(train=[FILE], max_lost_end=written).max_lost_end == pytest.approx(share)


@pytest.mark.parametrize("written", [1, "100%", 5, -0.1, "nan"])
def test_limits_that_limit_nothing_are_refused(written):
    with pytest.raises(ValueError, match=r"max_truncated = .* must be from 0 up to, not including, 1; write 1% or"):
        DataSpec(train=[FILE], max_truncated=written)


def test_limits_are_shares():
    with pytest.raises(ValueError, match=r"max_lost_end = 'few' is no share of the examples; write 1% or 0.01"):
        DataSpec(train=[FILE], max_lost_end="few")

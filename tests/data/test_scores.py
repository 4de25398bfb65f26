"""Scores on one scale."""

import json

import numpy as np
import pytest

from alignkit.data.errors import DataError
from alignkit.data.load import load_data
from alignkit.data.spec import DataSpec, Source

SCORES = ("score_chosen", "score_rejected")


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"prompt": f"{i}?", "chosen": "yes", "rejected": "no", "score_chosen": 3.0 + i, "score_rejected": 1.0 + i % 2}
        for i in range(10)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "even.jsonl").write_text(
        "\n".join(json.dumps({**row, "score_chosen": 1, "score_rejected": 1}) for row in rows)
    )
    (tmp_path / "bad.jsonl").write_text((tmp_path / "rows.jsonl").read_text() + '\n{"prompt": "x"}\n')
    return tmp_path


def loaded(folder, file="rows.jsonl", columns=SCORES, **spec):
    return load_data(DataSpec(train=(Source(source=file),), **spec), "pairs", columns, folder)


def table(dataset):
    return np.array([[row[name] for name in SCORES] for row in dataset])


def test_scores_are_taken_as_they_are_unless_asked(folder):
    assert sorted(table(loaded(folder).train)[:, 0]) == [3.0 + i for i in range(10)]


def test_zscore_brings_training_rows_to_mean_0_and_deviation_1(folder):
    raw, scaled = (loaded(folder, normalize_scores=how, holdout=0.3) for how in ("none", "zscore"))
    found = table(scaled.train)
    assert found.mean() == pytest.approx(0)
    assert found.std() == pytest.approx(1)
    before = table(raw.train)
    for part, same in ((scaled.train, raw.train), (scaled.eval, raw.eval)):
        assert table(part) == pytest.approx((table(same) - before.mean()) / before.std())
        assert part["prompt"][:] == same["prompt"][:]


def test_rows_that_are_not_used_have_no_part_in_it(folder):
    clean, dropped = (
        loaded(folder, file, normalize_scores="zscore", on_bad_rows="drop") for file in ("rows.jsonl", "bad.jsonl")
    )
    assert sorted(table(dropped.train)[:, 0]) == pytest.approx(sorted(table(clean.train)[:, 0]))


def test_turned_preferences_take_their_scores_with_them(folder):
    raw, scaled = (loaded(folder, normalize_scores=how, label_noise=0.5) for how in ("none", "zscore"))
    assert (np.sign(table(raw.train) @ [1, -1]) == np.sign(table(scaled.train) @ [1, -1])).all()
    assert len(set(np.sign(table(raw.train) @ [1, -1]))) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"file": "even.jsonl"}, r"all scores of score_chosen, score_rejected are 1\.0; remove normalize_scores"),
        ({"columns": ()}, r"normalize_scores has nothing to normalize: this objective reads no scores"),
    ],
)
def test_what_cannot_be_normalized_is_said(folder, given, message):
    with pytest.raises(DataError, match=message):
        loaded(folder, normalize_scores="zscore", **given)


def test_the_setting_is_checked():
    with pytest.raises(ValueError, match="normalize_scores = 'max' is not known; write none or zscore"):
        DataSpec(train=(Source(source="x"),), normalize_scores="max")
    with pytest.raises(ValueError, match="normalize_scores needs the whole data set"):
        DataSpec(train=(Source(source="x"),), normalize_scores="zscore", streaming=True)

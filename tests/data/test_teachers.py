"""The file of teachers' scores: read, checked, joined."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignkit.data.errors import DataError
from alignkit.data.load import load_data
from alignkit.data.sequences import Treatment
from alignkit.data.spec import DataSpec, Source
from alignkit.data.teachers import COLUMN, Teacher, TeacherScores, answers_only, key_of, write_scores

ONE, TWO = Teacher(path="a/one", version="1", precision="float32"), Teacher(path="a/two", template="t", version="2")
CUT = Treatment(max_length=64)


@pytest.fixture
def data(tmp_path):
    rows = [{"prompt": f"{i} + 1?", "completion": f"{i + 1}"} for i in range(6)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return load_data(DataSpec(train=(Source(source="a.jsonl"),), holdout=0.34), "tokens", base=tmp_path)


@pytest.fixture
def written(data, tmp_path):
    """Scores of every row: minus its number by one teacher, minus twice that by the other."""
    rows = {key_of(row): row["place"] for part in (data.train, data.eval) for row in part}
    number = {key: int(place.rpartition(":")[2]) for key, place in rows.items()}
    scores = {ONE: {key: -number[key] for key in rows}, TWO: {key: -2 * number[key] for key in rows}}
    write_scores(tmp_path / "scores.parquet", rows, scores, CUT, data.fingerprints)
    return tmp_path / "scores.parquet"


def test_scores_are_averaged_and_find_their_rows(data, written):
    scores = TeacherScores.read(written)
    assert scores.teachers == (ONE, TWO)
    assert scores.treatment == CUT
    joined = scores.joined(data)
    for part, before in ((joined.train, data.train), (joined.eval, data.eval)):
        assert part["place"][:] == before["place"][:]
        assert part[COLUMN][:] == [-1.5 * int(place.rpartition(":")[2]) for place in part["place"]]
    assert len(joined.train) + len(joined.eval) == 6
    assert set(joined.fingerprints) == {"a.jsonl", "scores.parquet"}


def test_a_key_is_of_what_a_row_says_and_of_nothing_else():
    row = {"prompt": "a", "completion": "b", "place": "x:1", "aligned_logps": 3.0}
    assert key_of(row) == key_of({"completion": "b", "prompt": "a", "place": "y:2"})
    assert key_of(row) != key_of({**row, "completion": "c"})
    assert key_of({"text": "ab"}) != key_of({"prompt": "ab"})


def test_rows_of_other_data_are_named(data, written, tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"prompt": "0 + 1?", "completion": "1"}\n{"prompt": "9 + 1?", "completion": "10"}'
    )
    other = load_data(DataSpec(train=(Source(source="a.jsonl"),)), "tokens", base=tmp_path)
    with pytest.raises(
        DataError, match=r"has no score for 1 of 2 rows: a\.jsonl:2\. It was made for a\.jsonl, which are"
    ):
        TeacherScores.read(written).joined(other)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), None])
def test_a_score_that_is_no_number_names_its_row(written, value):
    table = pq.read_table(written)
    scores = [value if place == "a.jsonl:3" else -1.0 for place in table.column("place").to_pylist()]
    column = table.schema.get_field_index(COLUMN)
    pq.write_table(table.set_column(column, COLUMN, pa.array(scores, pa.float64())), written)
    with pytest.raises(
        DataError, match=r"the score of a\.jsonl:3 is (nan|-inf|None); run alignkit score-teachers again"
    ):
        TeacherScores.read(written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 32}, "was made with max_length = 64, training has 32"),
        ({"truncation": "keep_end"}, "was made with truncation = keep_start, training has keep_end"),
        ({"assistant_only": True}, "was made with assistant_only = False, training has True"),
    ],
)
def test_answers_that_are_cut_otherwise_are_refused(written, change, message):
    with pytest.raises(DataError, match=message):
        TeacherScores.read(written).check(replace(CUT, **change), [])


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ([ONE], "holds 2 teachers, the recipe has 1"),
        ([TWO, ONE], "another path of a/one"),
        ([ONE, replace(TWO, template="u")], "another template of a/two"),
        ([ONE, replace(TWO, tokenizer="x")], "another tokenizer of a/two"),
        ([replace(ONE, version="3"), TWO], "another version of a/one"),
        ([replace(ONE, precision="bfloat16"), TWO], "another precision of a/one"),
    ],
)
def test_scores_of_other_teachers_are_refused(written, teachers, message):
    with pytest.raises(DataError, match=message):
        TeacherScores.read(written).check(CUT, teachers)


def test_what_was_not_looked_up_is_not_compared(written):
    scores = TeacherScores.read(written)
    scores.check(CUT, [])
    scores.check(CUT, [replace(ONE, version=None, precision=None), TWO])


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"does not exist; make it with alignkit score-teachers RECIPE"):
        TeacherScores.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no")
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other.parquet")
    for name in ("text", "other"):
        with pytest.raises(DataError, match=rf"{name}\.parquet was not written by alignkit score-teachers"):
            TeacherScores.read(tmp_path / f"{name}.parquet")


def test_teachers_score_answers_whatever_training_averages_over(data):
    whole = Treatment(max_length=9, completion_only=False)
    assert answers_only(whole, data.train) == Treatment(max_length=9)
    chats = data.train.rename_column("prompt", "messages")
    assert answers_only(whole, chats) == Treatment(max_length=9, assistant_only=True)

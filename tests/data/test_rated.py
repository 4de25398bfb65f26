"""Answers with scores: which pairs and rankings they give, ties as the recipe says, and scores that are none."""

import json

import pytest

from alignkit.data import DataSpec, Source
from alignkit.data.errors import BadRow, DataError
from alignkit.data.load import load_data
from alignkit.data.rated import checked_scores, rated_pairs, rated_ranking

TIED = "tied scores: answers 1 and 3 both have 4; write data.ties: drop, or half where the method reads scores"


@pytest.mark.parametrize(
    ("scores", "ties", "pairs", "ranking"),
    [
        ([1, 3, 2], "error", [(1, 0), (2, 0), (1, 2)], [1, 2, 0]),
        ([-1.5, -2], "error", [(0, 1)], [0, 1]),
        ([4, 1, 4], "drop", [(0, 1), (2, 1)], [0, 1]),
        ([4, 1, 4], "half", [(0, 1), (0, 2), (2, 1)], [0, 2, 1]),
        ([2, 2], "drop", [], []),
    ],
)
def test_every_two_answers_are_a_pair_and_ties_go_as_the_recipe_says(scores, ties, pairs, ranking):
    assert (rated_pairs(scores, ties), rated_ranking(scores, ties)) == (pairs, ranking)


@pytest.mark.parametrize("read", [rated_pairs, rated_ranking])
def test_ties_of_which_the_recipe_says_nothing(read):
    with pytest.raises(BadRow) as error:
        read([4, 1, 4], "error")
    assert str(error.value) == TIED


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([1, float("nan")], "not a finite number: score 2 is nan"),
        ([float("inf"), 1], "not a finite number: score 1 is inf"),
        ([1, None], "not a number: score 2 is null"),
        ([1, "good"], "not a number: score 2 is 'good'"),
        ([True, 1], "not a number: score 1 is true or false"),
        ([1, 2, 3], "not a score for each answer: 2 answers and 3 scores"),
        (5, "not a list of scores: scores is a number"),
    ],
)
def test_scores_that_are_none(scores, reason):
    with pytest.raises(BadRow) as error:
        checked_scores({"scores": scores}, 2)
    assert str(error.value) == reason


def loaded(tmp_path, rows, shape, columns=(), **fields):
    lines = [json.dumps({"prompt": f"q{number}", **row}) for number, row in enumerate(rows)]
    (tmp_path / "rated.jsonl").write_text("\n".join(lines), encoding="utf-8")
    spec = DataSpec(train=(Source(source="rated.jsonl"),), **fields)
    return load_data(spec, shape, columns, tmp_path)


ROWS = [
    {"answers": ["a", "b", "c"], "scores": [4, 1, 4]},
    {"answers": ["d", "e"], "scores": [2, 2]},
    {"answers": ["f", "g"], "scores": [0.5, 3]},
]
SCORES = ("score_chosen", "score_rejected")


def test_pairs_have_the_numbers_that_objectives_read(tmp_path):
    data = loaded(tmp_path, ROWS, "pairs", (*SCORES, "margin"), ties="drop")
    found = sorted((row["chosen"], row["rejected"], *(row[name] for name in (*SCORES, "margin"))) for row in data.train)
    assert found == [("a", "b", 4, 1, 3), ("c", "b", 4, 1, 3), ("g", "f", 3, 0.5, 2.5)]
    (report,) = data.report
    assert (report.read, report.kept, report.used, report.dropped) == (3, 2, 3, {"all scores are equal": 1})


def test_a_half_keeps_ties_for_methods_that_read_scores_and_no_others(tmp_path):
    train = loaded(tmp_path, ROWS, "pairs", SCORES, ties="half").train
    tied = sorted((row["chosen"], row["rejected"]) for row in train if row["score_chosen"] == row["score_rejected"])
    assert (len(train), tied) == (5, [("a", "c"), ("d", "e")])
    for shape, columns in (("pairs", ()), ("pairs", ("margin",)), ("rankings", ())):
        with pytest.raises(DataError) as error:
            loaded(tmp_path, ROWS, shape, columns, ties="half")
        assert str(error.value) == (
            "ties: half is a label of one half, and this objective knows better and worse alone; write ties: drop, or "
            "objective: {name: mmpo_reward}, whose label of equal scores is one half"
        )


def test_rankings_go_by_their_scores(tmp_path):
    train = loaded(tmp_path, ROWS, "rankings", ties="drop").train
    assert sorted(row["answers"] for row in train) == [["a", "b"], ["g", "f"]]


def test_nothing_is_dropped_unasked(tmp_path):
    with pytest.raises(DataError) as error:
        loaded(tmp_path, ROWS, "pairs")
    assert str(error.value).splitlines()[:3] == [
        "2 rows cannot be used:",
        f"  rated.jsonl:1: {TIED}",
        f"  rated.jsonl:2: {TIED.replace('3 both have 4', '2 both have 2')}",
    ]
    with pytest.raises(DataError, match=r"^no row of rated\.jsonl can be used; the first: all scores are equal"):
        loaded(tmp_path, ROWS[1:2], "pairs", ties="drop")


def test_bad_rows(tmp_path):
    for row, reason in (
        ({"answers": ["a"], "scores": [1]}, "fewer than two answers: answers holds 1, and a ranking compares"),
        ({"answers": ["a", "a"], "scores": [1, 2]}, "an answer is ranked twice: answers 1 and 2 are the same"),
        ({"answers": ["a", "b"], "scores": [1]}, "not a score for each answer: 2 answers and 1 scores"),
    ):
        for shape in ("pairs", "rankings"):
            with pytest.raises(DataError) as error:
                loaded(tmp_path, [ROWS[2], row], shape)
            assert f"rated.jsonl:2: {reason}" in str(error.value)


def test_a_stream_leaves_ties_out_too(tmp_path):
    train = loaded(tmp_path, ROWS, "pairs", streaming=True, ties="drop").train
    assert sorted(row["chosen"] for row in train) == ["a", "c", "g"]
    with pytest.raises(ValueError, match=r"^ties = 'keep' is not known; write error, drop or half$"):
        loaded(tmp_path, ROWS, "pairs", ties="keep")

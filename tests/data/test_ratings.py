"""Ratings files, joined by order or by a column that they share with the rows."""

import json

import pytest

from alignkit.data.errors import DataError
from alignkit.data.load import load_data
from alignkit.data.spec import DataSpec, Source
from alignkit.recipe import RecipeError, load

SCORES = ("score_chosen", "score_rejected")


@pytest.fixture
def folder(tmp_path):
    """Write rows and ratings: name="lines of JSON"."""

    def written(**files):
        for name, rows in files.items():
            (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return tmp_path

    return written


def pairs(count=4, **more):
    return [
        {"prompt": f"{i}?", "chosen": "yes", "rejected": "no", "prompt_id": i, **{k: v[i] for k, v in more.items()}}
        for i in range(count)
    ]


def rating(i, **more):
    return {"score_chosen": i + 0.5, "score_rejected": -i, **more}


def loaded(folder, by, **spec):
    source = Source(source="rows.jsonl", ratings="ratings.jsonl", ratings_by=by, **spec.pop("source", {}))
    return load_data(DataSpec(train=(source,), **spec), "pairs", SCORES, folder).train


def scores_by_prompt(train):
    return {row["prompt"]: (row["score_chosen"], row["score_rejected"]) for row in train}


EXPECTED = {f"{i}?": (i + 0.5, -i) for i in range(4)}


def test_ratings_are_joined_in_their_order(folder):
    where = folder(rows=pairs(), ratings=[rating(i) for i in range(4)])
    assert scores_by_prompt(loaded(where, "row")) == EXPECTED


def test_ratings_are_joined_by_a_column_in_any_order(folder):
    """A CSV file would hold the number of a prompt as text, so ids are compared as text."""
    ratings = [rating(i, prompt_id=str(i)) for i in (2, 0, 3, 1, 9)]
    where = folder(rows=pairs(), ratings=ratings)
    assert scores_by_prompt(loaded(where, "prompt_id")) == EXPECTED


def test_ratings_may_go_by_other_names(folder):
    where = folder(rows=pairs(), ratings=[{"good": i + 0.5, "bad": -i} for i in range(4)])
    names = {"columns": {"score_chosen": "good", "score_rejected": "bad"}}
    assert scores_by_prompt(loaded(where, "row", source=names)) == EXPECTED


def test_a_row_without_a_rating_is_a_bad_row(folder):
    where = folder(rows=pairs(), ratings=[rating(i, prompt_id=i) for i in range(3)])
    with pytest.raises(DataError, match=r"rows\.jsonl:4: no rating: ratings\.jsonl has none of prompt_id = 3"):
        loaded(where, "prompt_id")
    assert len(loaded(where, "prompt_id", on_bad_rows="drop")) == 3


@pytest.mark.parametrize(
    ("by", "ratings", "message"),
    [
        ("row", [rating(i) for i in range(3)], r"rows\.jsonl:4: no rating: ratings\.jsonl has none of row 4"),
        ("row", [rating(i) for i in range(5)], r"ratings\.jsonl holds 5 ratings for 4 rows; is it of these rows\?"),
        ("prompt_id", [rating(0)], r"ratings\.jsonl:1 has no 'prompt_id', by which ratings find their rows"),
        ("prompt_id", [rating(0, prompt_id=0)] * 2, r"ratings\.jsonl:2 is a second rating of prompt_id = 0"),
        ("row", [rating(0, chosen="x")], r"ratings\.jsonl and its rows both have a column 'chosen'; rename or remove"),
        ("row", ["no object"], r"ratings\.jsonl:1: not an object"),
    ],
)
def test_ratings_that_do_not_fit_are_refused(folder, by, ratings, message):
    with pytest.raises(DataError, match=message):
        loaded(folder(rows=pairs(), ratings=ratings), by)


def test_a_limit_of_rows_leaves_ratings_over(folder):
    where = folder(rows=pairs(), ratings=[rating(i) for i in range(4)])
    assert len(loaded(where, "row", source={"limit": 2})) == 2


def test_changed_ratings_are_read_anew(folder):
    first = loaded(folder(rows=pairs(), ratings=[rating(i) for i in range(4)]), "row")
    second = loaded(folder(ratings=[rating(i + 1) for i in range(4)]), "row")
    assert scores_by_prompt(first) != scores_by_prompt(second)


def test_a_missing_file_is_named_with_the_nearest(folder):
    where = folder(rows=pairs(), ratings=[rating(0)])
    source = Source(source="rows.jsonl", ratings="rating.jsonl", ratings_by="row")
    with pytest.raises(DataError, match=r"no file rating\.jsonl in .*; did you mean ratings\.jsonl\?"):
        load_data(DataSpec(train=(source,)), "pairs", SCORES, where)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ratings": "x"}, r"write ratings_by: COLUMN, or ratings_by: row for their order"),
        ({"ratings_by": "row"}, r"ratings_by has no ratings"),
    ],
)
def test_how_ratings_find_their_rows_is_said(given, message):
    with pytest.raises(ValueError, match=message):
        Source(source="x.jsonl", **given)


def test_a_recipe_finds_ratings_beside_it(folder, tmp_path, monkeypatch):
    folder(rows=pairs(), ratings=[rating(i) for i in range(4)])
    source = "{source: rows.jsonl, ratings: FILE, ratings_by: row}"
    text = f"{{objective: mmpo, model: {{path: 'tiny:llama'}}, data: {{train: [{source}]}}}}"
    (tmp_path / "x.yaml").write_text(text.replace("FILE", "ratings.jsonl"))
    monkeypatch.chdir("/")
    assert load(tmp_path / "x.yaml").data.train[0].ratings == str(tmp_path / "ratings.jsonl")
    (tmp_path / "x.yaml").write_text(text.replace("FILE", "none.jsonl"))
    with pytest.raises(RecipeError, match=r"data\.train\.0\.ratings = 'none.jsonl' does not exist"):
        load(tmp_path / "x.yaml")

import json

import pytest

from alignkit.evaluation import EvaluationError, load_questions

ROW = {"question_id": 1, "category": "writing", "turns": ["a", "b"]}
REFERENCE = {"question_id": 2, "choices": [{"index": 0, "turns": ["4", "5"]}]}


def write(file, *rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_starter_set_is_whole():
    starter = load_questions()
    assert len(starter.questions) == 16
    assert len({one.category for one in starter.questions}) == 8
    assert all(one.reference for one in starter.questions)
    assert {one.temperature for one in starter.questions} == {0.0, 0.1, 0.7}
    assert "mt" not in starter.name.lower()
    assert len(load_questions(limit=1).questions) == 8


def test_a_folder_of_fastchats(tmp_path):
    math = {"question_id": 2, "category": "math", "turns": ["2+2", "and 1?"], "reference": ["ignored", ""]}
    write(tmp_path / "question.jsonl", ROW, math, {**ROW, "question_id": 3, "category": "x", "required_temperature": 1})
    write(tmp_path / "reference_answer/gpt-4.jsonl", REFERENCE)
    write(tmp_path / "reference_answer/another.jsonl", {**REFERENCE, "choices": [{"turns": ["four", "five"]}]})
    found = load_questions(str(tmp_path))
    assert [one.reference for one in found.questions] == [None, ("4", "5"), None]
    assert [one.temperature for one in found.questions] == [0.7, 0.0, 1.0]
    named = load_questions(str(tmp_path), references="another")
    assert named.questions[1].reference == ("four", "five")
    assert named.fingerprint == found.fingerprint
    assert load_questions(str(tmp_path / "question.jsonl")).questions == found.questions


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "question_id 1 occurs twice in {file}; give every question an id of its own"),
        ([{**ROW, "question_id": "1"}], "{file}, row 1: question_id = '1' is no whole number"),
        ([{**ROW, "category": ""}], "{file}, row 1: question 1 has no category"),
        ([{**ROW, "turns": ["a"]}], "{file}, row 1: question 1 should have two turns, a list of two texts"),
        ([{**ROW, "required_temperature": -1}], "{file}, row 1: required_temperature = -1 of question 1"),
        ([], "{file} holds no questions"),
        (
            [{**ROW, "category": "math"}],
            "no reference answer for question 1 in {folder}/reference_answer/NAME.jsonl: "
            "math, reasoning, coding are judged beside one",
        ),
    ],
)
def test_bad_questions_are_refused_with_their_place(tmp_path, rows, message):
    file = tmp_path / "question.jsonl"
    write(file, *rows)
    with pytest.raises(EvaluationError) as caught:
        load_questions(str(tmp_path))
    assert str(caught.value).startswith(message.format(file=file, folder=tmp_path))


def test_references_are_chosen_by_name(tmp_path):
    write(tmp_path / "question.jsonl", {**ROW, "question_id": 2, "category": "math"})
    for name in ("one", "two"):
        write(tmp_path / f"reference_answer/{name}.jsonl", REFERENCE)
    with pytest.raises(EvaluationError, match=r"holds one, two; say which with --references NAME"):
        load_questions(str(tmp_path))
    with pytest.raises(
        EvaluationError, match=r"no file of reference answers three; beside the questions there are one"
    ):
        load_questions(str(tmp_path), references="three")
    write(tmp_path / "reference_answer/bad.jsonl", {"question_id": 2})
    with pytest.raises(EvaluationError, match=r"bad.jsonl:1 is no answer: it needs question_id and choices with turns"):
        load_questions(str(tmp_path), references="bad")


def test_a_dataset_on_the_hub(tmp_path, monkeypatch):
    """Columns as HuggingFaceH4/mt_bench_prompts has them; its references are not used, as FastChat's are not."""
    common = {"reference": ["ignored", ""]}
    dataset = [
        {"prompt_id": 81, "category": "writing", "prompt": ["a", "b"], **common},
        {"prompt_id": 111, "category": "math", "prompt": ["2+2", "and 1?"], **common},
    ]
    asked = []

    def load_dataset(source, split):
        asked.append((source, split))
        return dataset

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(EvaluationError) as caught:
        load_questions("org/prompts")
    assert str(caught.value) == (
        "no reference answer for question 111, and a dataset on the Hub brings none; write --references FILE: "
        "math, reasoning, coding are judged beside one"
    )
    write(tmp_path / "gpt-4.jsonl", {**REFERENCE, "question_id": 111})
    found = load_questions("org/prompts", references=str(tmp_path / "gpt-4.jsonl"))
    assert [(one.id, one.turns, one.reference) for one in found.questions] == [
        (81, ("a", "b"), None),
        (111, ("2+2", "and 1?"), ("4", "5")),
    ]
    assert found.name == "org/prompts"
    assert asked == [("org/prompts", "train")] * 2


def test_what_is_no_source(tmp_path):
    with pytest.raises(EvaluationError, match=r"holds no question.jsonl"):
        load_questions(str(tmp_path))
    (tmp_path / "question.jsonl").write_text('{"question_id": 1\n')
    with pytest.raises(EvaluationError, match=r"question.jsonl:1 is no JSON: "):
        load_questions(str(tmp_path))
    with pytest.raises(EvaluationError, match=r"no questions at no/such: .*; give a folder with question.jsonl"):
        load_questions("no/such")

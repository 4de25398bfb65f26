"""Answers as they are written, resumed and refused."""

import json
from dataclasses import replace

import pytest

from alignkit.evaluation import EvaluationError, Folder
from alignkit.evaluation.answering import LocalAnswerer, RemoteAnswerer, second_turn
from alignkit.evaluation.answers import alpaca_eval_rows, answer, checked_name, load_answers, use_questions
from alignkit.evaluation.questions import Questions
from alignkit.remote import Client, Endpoint
from tests.evaluation.scripted import question, questions
from tests.remote.server import Server, failed, said

ASKED = questions("writing", "math", "math", "stem", "writing", "math")


class Draws:
    """A model on this machine that repeats the question and notes what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, chats, temperature, seed):
        self.calls.append(([chat[-1]["content"] for chat in chats], temperature, seed))
        return [f"{chat[-1]['content']}? {temperature:g} {seed} {len(chat)}" for chat in chats]


def local(draws, **options):
    settings = {"model": "m", **options.pop("settings", {})}
    return LocalAnswerer(load=lambda: draws, questions=ASKED.questions, settings=settings, at_once=2, **options)


@pytest.fixture
def folder(tmp_path):
    use_questions(Folder(tmp_path), ASKED)
    return Folder(tmp_path)


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_two_turns_by_category_and_choice(folder):
    draws = Draws()
    assert [error for _, error in answer(folder, "m", local(draws, choices=2), ASKED.questions)] == [None] * 6
    first = rows(folder.answers("m"))[0]
    assert {*first} == {"question_id", "answer_id", "model_id", "choices", "tstamp", "settings"}
    assert (first["question_id"], first["model_id"]) == (1, "m")
    assert first["choices"] == [
        {"index": 0, "turns": ["ask 1? 0.7 0 1", "and 1? 0.7 0 3"]},
        {"index": 1, "turns": ["ask 1? 0.7 1 1", "and 1? 0.7 1 3"]},
    ]
    assert [row["question_id"] for row in rows(folder.answers("m"))] == [1, 2, 3, 4, 5, 6]
    assert all(len(texts) <= 2 for texts, _, _ in draws.calls)
    assert {temperature for _, temperature, _ in draws.calls} == {0.0, 0.1, 0.7}
    assert second_turn(ASKED.questions[0], "said")[1] == {"role": "assistant", "content": "said"}


def test_a_run_that_was_killed_goes_on_and_draws_the_same(folder, tmp_path):
    whole, draws = Folder(tmp_path / "whole"), Draws()
    use_questions(whole, ASKED)
    [*answer(whole, "m", local(draws), ASKED.questions)]
    steps = answer(folder, "m", local(Draws()), ASKED.questions)
    next(steps)
    next(steps)
    next(steps)
    steps.close()
    file = folder.answers("m")
    file.write_text(file.read_text() + '{"question_id": 5, "choi')
    again = Draws()
    [*answer(folder, "m", local(again), ASKED.questions)]
    assert load_answers(folder, "m") == load_answers(whole, "m")
    assert 0 < len(again.calls) < len(draws.calls)
    idle = LocalAnswerer(load=lambda: pytest.fail("loaded"), questions=ASKED.questions, settings={"model": "m"})
    assert [*answer(folder, "m", idle, ASKED.questions)] == []


def test_answers_of_another_model_are_not_continued(folder):
    [*answer(folder, "m", local(Draws()), ASKED.questions[:1])]
    with pytest.raises(EvaluationError, match=r"m.jsonl holds answers of another model, or by other settings"):
        [*answer(folder, "m", local(Draws(), settings={"version": 2}), ASKED.questions)]


def test_an_endpoint_answers_and_what_it_does_not_answer_is_said(folder):
    def script(asked):
        text = asked.body["messages"][-1]["content"]
        return failed(400, "no") if "3" in text else said(f"{text}! {asked.body['temperature']}")

    with Server(script) as server, Client(Endpoint(url=server.url)) as client:
        answerer = RemoteAnswerer(client=client, model="far", max_tokens=9)
        found = {one.id: error for one, error in answer(folder, "far", answerer, ASKED.questions)}
    assert str(found.pop(3)) == f"{server.url}: HTTP 400: no"
    assert {*found.values()} == {None}
    assert [row["question_id"] for row in rows(folder.answers("far"))] == [1, 2, 4, 5, 6]
    assert load_answers(folder, "far")[4] == (("ask 4! 0.1", "and 4! 0.1"),)
    assert all(body["max_tokens"] == 9 and body["seed"] == 0 for body in server.bodies)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question_id": 99, "choices": [{"turns": ["a", "b"]}]}, "m.jsonl:1 answers question 99, which is not in"),
        ({"question_id": 1, "choices": []}, "m.jsonl:1 is no answer: it needs question_id and choices with turns"),
        ({"question_id": 1, "choices": [{"turns": ["a"]}]}, "m.jsonl:1 should have two turns, a list of two texts"),
    ],
)
def test_bad_answers_are_refused_with_their_place(folder, row, message):
    folder.answers("m").parent.mkdir()
    folder.answers("m").write_text(json.dumps(row) + "\n")
    with pytest.raises(EvaluationError) as caught:
        load_answers(folder, "m")
    assert message in str(caught.value)


def test_a_folder_belongs_to_its_questions(folder):
    more = questions("writing", "math", "math", "stem", "writing", "math", "humanities")
    use_questions(folder, more)
    assert len(rows(folder.questions)) == 7
    use_questions(folder, ASKED)
    assert len(rows(folder.questions)) == 7
    other = Questions(name="other", questions=(replace(question(1), turns=("else", "x")),))
    with pytest.raises(
        EvaluationError, match=r"holds answers to other questions: 1 is not what it is in other; choose"
    ):
        use_questions(folder, other)


@pytest.mark.parametrize("name", ["a/b", "", "a b", ".."])
def test_names_are_names_of_files(name):
    with pytest.raises(EvaluationError, match="cannot name a file"):
        checked_name(name)
    with pytest.raises(EvaluationError, match=r"the name '4.5' would be read as a number; write NAME=MODEL"):
        checked_name("4.5")


def test_the_file_of_alpaca_eval(folder):
    [*answer(folder, "m", local(Draws()), ASKED.questions[:1])]
    assert alpaca_eval_rows("m", ASKED.questions, load_answers(folder, "m")) == [
        {"dataset": "mt_bench", "instruction": "ask 1", "output": "ask 1? 0.7 0 1", "generator": "m"}
    ]

"""Judgments as they are written, resumed, redone and left out."""

import json

import pytest

from alignkit.evaluation import Folder, Graded, Ungraded
from alignkit.evaluation.judges import Budget, LocalJudge, RemoteJudge
from alignkit.evaluation.judging import Judging, estimate, matches
from alignkit.evaluation.prompts import load_prompts
from alignkit.remote import Cache, Client, Endpoint, Refused, Unavailable
from tests.evaluation.scripted import ScriptedJudge, judged, questions, write_answers
from tests.remote.server import (
    HALF_OF_THE_JSON,
    NO_CHOICES,
    NO_TEXT,
    Cut,
    Hang,
    Server,
    failed,
    in_turn,
    said,
)

ANSWERS = {name: {1: ((f"{name} one", f"{name} two"),), 2: ((f"{name} 3", f"{name} 4"),)} for name in "ab"}
ASKED = questions("writing", "math")
ALL = matches(ASKED.questions, ANSWERS)
PAIRS = matches(ASKED.questions, ANSWERS, [("a", "b")])


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def judging(tmp_path, judge):
    return Judging(judge=judge, prompts=load_prompts(), folder=Folder(tmp_path))


def test_ratings_are_fastchats_rows(tmp_path):
    judge = ScriptedJudge(lambda text: "Good.\nRating: [[7]]", name="org/judge")
    found = [*judging(tmp_path, judge).run(ALL)]
    assert [one.value for _, one in found] == [7.0] * 8
    (file,) = (tmp_path / "model_judgment").iterdir()
    assert file.name == "org-judge_single.jsonl"
    first = rows(file)[0]
    assert first["judge"] == ["org/judge", "alignkit-single-turn-1"]
    assert (first["question_id"], first["model"], first["score"], first["turn"]) == (1, "a", 7.0, 1)
    assert first["user_prompt"] == judge.asked[0]
    assert first["judgment"] == "Good.\nRating: [[7]]"
    assert {*first} - {"choice", "key"} == {
        *("question_id", "model", "judge", "user_prompt", "judgment", "score", "turn", "tstamp")
    }


def test_pairs_are_asked_in_both_orders_and_named_by_model(tmp_path):
    def prefers_a(text):
        return "[[A]]" if text.index("\na ") < text.index("\nb ") else "[[B]]"

    judge = ScriptedJudge(prefers_a)
    [*judging(tmp_path, judge).run(PAIRS)]
    found = rows(tmp_path / "model_judgment/judge_pair.jsonl")
    assert len(judge.asked) == 8
    assert [(row["g1_winner"], row["g2_winner"]) for row in found] == [("model_1", "model_1")] * 4
    assert {*found[0]} - {"choice", "key"} == {
        *("question_id", "model_1", "model_2", "g1_winner", "g2_winner", "judge", "g1_user_prompt", "g1_judgment"),
        *("g2_user_prompt", "g2_judgment", "turn", "tstamp"),
    }
    assert found[0]["g1_user_prompt"].index("a one") < found[0]["g1_user_prompt"].index("b one")
    assert found[0]["g2_user_prompt"].index("b one") < found[0]["g2_user_prompt"].index("a one")


def test_what_has_no_value_is_beside_and_is_asked_again_only_if_nobody_answered(tmp_path):
    replies = {"a one": "no rating here", "b one": Unavailable("http://x", "HTTP 500: no")}

    def say(text):
        return next((reply for mark, reply in replies.items() if mark in text and "two" not in text), "[[3]]")

    judge = ScriptedJudge(say)
    found = {(match.models, match.question.id, match.turn): one for match, one in judging(tmp_path, judge).run(ALL)}
    assert found[("a",), 1, 1] == Ungraded(reason="the reply holds no rating")
    assert found[("b",), 1, 1] == Ungraded(reason="http://x: HTTP 500: no", asked=False)
    assert len(rows(tmp_path / "model_judgment/judge_single.jsonl")) == 6
    beside = tmp_path / "model_judgment/judge_single.ungraded.jsonl"
    assert [(row["model"], row["score"], row["reason"]) for row in rows(beside)] == [
        ("a", None, "the reply holds no rating"),
        ("b", None, "http://x: HTTP 500: no"),
    ]
    del replies["b one"]
    judge.asked.clear()
    again = judging(tmp_path, judge)
    [(match, one)] = again.run(again.open(ALL))
    assert (match.models, one) == (("b",), Graded(value=3.0))
    assert len(judge.asked) == 1
    assert [row["model"] for row in rows(beside)] == ["a"]
    assert len(rows(tmp_path / "model_judgment/judge_single.jsonl")) == 7
    assert again.open(ALL) == []


def test_an_answer_that_changed_is_judged_again_and_counted_once(tmp_path):
    judge = ScriptedJudge(lambda text: "[[3]]" if "new" in text else "[[2]]")
    [*judging(tmp_path, judge).run(ALL)]
    changed = {**ANSWERS, "b": {**ANSWERS["b"], 1: (("new", "b two"),)}}
    again = judging(tmp_path, judge)
    wanted = again.open(matches(ASKED.questions, changed))
    assert [(match.models, match.turn) for match in wanted] == [(("b",), 1), (("b",), 2)]
    [*again.run(wanted)]
    found = rows(tmp_path / "model_judgment/judge_single.jsonl")
    assert len(found) == 8
    assert [row["score"] for row in found if row["model"] == "b" and row["question_id"] == 1] == [3.0, 3.0]
    other = Judging(judge=ScriptedJudge(judge.say), prompts=load_prompts(), folder=Folder(tmp_path))
    other.judge.identity = {"model": "judge", "temperature": 1}
    assert len(other.open(ALL)) == 8


def test_several_choices_are_all_judged(tmp_path):
    answers = {"a": {1: (("x1", "y1"), ("x2", "y2"))}, "b": {1: (("z1", "w1"),)}}
    singles = matches(ASKED.questions, answers)
    assert [(match.models, match.turn, match.choice) for match in singles] == [
        *((("a",), turn, choice) for turn in (1, 2) for choice in (0, 1)),
        *((("b",), turn, 0) for turn in (1, 2)),
    ]
    assert [match.choice for match in matches(ASKED.questions, answers, [("a", "b")])] == [0, 0]


@pytest.fixture
def endpoint():
    return {"timeout": 0.3, "tries": 2, "backoff": 0.001, "concurrency": 2}


@pytest.mark.parametrize(
    "trouble",
    [failed(429, retry_after="0"), failed(500), Hang(), Cut(), NO_CHOICES, NO_TEXT, HALF_OF_THE_JSON],
    ids=["429", "500", "hang", "cut", "no choices", "null", "half of the JSON"],
)
def test_one_failure_of_the_server_loses_nothing(tmp_path, endpoint, trouble):
    with Server(in_turn(trouble, then=said("[[4]]"))) as server:
        with Client(Endpoint(url=server.url, **endpoint), cache=Cache(tmp_path / "cache")) as client:
            found = [*judging(tmp_path, RemoteJudge(client=client, model="j")).run(ALL)]
        server.closing.set()
    assert [one for _, one in found] == [Graded(value=4.0)] * 8
    assert len(server.asked) == 9


def test_a_refusal_stops_at_once_and_keeps_what_came(tmp_path, endpoint):
    script = in_turn(said("[[4]]"), said("[[5]]"), then=failed(401, "wrong key"))
    endpoint["concurrency"] = 1
    with Server(script) as server, Client(Endpoint(url=server.url, **endpoint)) as client:
        with pytest.raises(Refused, match="HTTP 401: wrong key"):
            [*judging(tmp_path, RemoteJudge(client=client, model="j")).run(ALL)]
        assert len(server.asked) == 3
    assert [row["score"] for row in rows(tmp_path / "model_judgment/j_single.jsonl")] == [4.0, 5.0]


def test_a_run_that_stopped_between_two_games_asks_the_second_only(tmp_path, endpoint):
    cache = Cache(tmp_path / "cache")
    with Server(in_turn(said("[[A]]"), then=failed(400))) as server:
        with Client(Endpoint(url=server.url, **{**endpoint, "concurrency": 1}), cache=cache) as client:
            [*judging(tmp_path, RemoteJudge(client=client, model="j")).run(PAIRS[:1])]
        assert len(server.asked) == 2
        server.script = in_turn(then=said("[[B]]"))
        with Client(Endpoint(url=server.url, **endpoint), cache=cache) as client:
            again = judging(tmp_path, RemoteJudge(client=client, model="j"))
            assert again.open(PAIRS[:1]) == PAIRS[:1]
            assert estimate(again, PAIRS[:1]).requests == 1
            assert [one for _, one in again.run(PAIRS[:1])] == [Graded(value="A")]
    assert len(server.asked) == 3
    assert [row["g2_winner"] for row in rows(tmp_path / "model_judgment/j_pair.jsonl")] == ["model_1"]
    assert rows(tmp_path / "model_judgment/j_pair.ungraded.jsonl") == []


def test_no_more_is_spent_than_allowed(tmp_path, endpoint):
    """A request costs 7 + 3 tokens at most 1 each; at worst, before it is sent, its whole length and 20 tokens."""
    budget = Budget(input_price=1e6, output_price=1e6, limit=360)
    with Server(in_turn(then=said("[[4]]"))) as server, Client(Endpoint(url=server.url, concurrency=1)) as client:
        judge = RemoteJudge(client=client, model="j", budget=budget, max_tokens=20)
        found = [one for _, one in judging(tmp_path, judge).run(ALL)]
    assert 0 < len(server.asked) < 8
    assert budget.spent == 10 * len(server.asked)
    assert (budget.input_tokens, budget.output_tokens) == (7 * len(server.asked), 3 * len(server.asked))
    left_out = [one for one in found if isinstance(one, Ungraded)]
    assert len(left_out) == 8 - len(server.asked)
    assert {one.reason for one in left_out} == {f"{server.url}: not asked: it could exceed the limit of 360"}


def test_an_estimate_asks_nothing(tmp_path):
    found = estimate(judging(tmp_path, ScriptedJudge(lambda text: pytest.fail("asked"))), PAIRS, reply_tokens=100)
    assert (found.requests, found.kept, found.output_tokens) == (8, 0, 800)
    assert found.input_tokens > 8 * 200
    assert list(tmp_path.iterdir()) == []


def test_a_judge_on_this_machine_is_asked_once(tmp_path):
    drawn = []

    def draw(chats, temperature, seed):
        assert (temperature, seed) == (0.0, 0)
        drawn.extend(chats)
        return ["[[6]]"] * len(chats)

    judge = LocalJudge(name="near", load=lambda: draw, identity={"model": "m"}, cache=Cache(tmp_path / "c"), at_once=3)
    assert [one for _, one in judging(tmp_path / "x", judge).run(ALL)] == [Graded(value=6.0)] * 8
    idle = LocalJudge(
        name="near", load=lambda: pytest.fail("loaded"), identity={"model": "m"}, cache=Cache(tmp_path / "c")
    )
    assert [one for _, one in judging(tmp_path / "y", idle).run(ALL)] == [Graded(value=6.0)] * 8
    assert len(drawn) == 8


def test_a_scripted_folder_is_judged(tmp_path):
    folder, found = judged(tmp_path, lambda text: "[[5]]")
    assert len(found) == 12
    assert folder.models() == ["a", "b"]
    assert write_answers(folder, ASKED, c=lambda one, turn: "c").models() == ["a", "b", "c"]

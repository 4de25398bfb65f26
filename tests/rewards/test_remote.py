"""Remote members against a server that answers, or misbehaves, as a test says."""

import logging

import pytest

from alignkit.rewards import RewardError, make, rules
from alignkit.rewards.build import load_reward
from alignkit.rewards.spec import RemoteMember, RewardSpec, RuleMember
from tests.objectives.properties import assert_refuses
from tests.remote.server import Answer, Cut, Hang, Server, failed, in_turn

PROMPTS, ANSWERS = ["p"] * 5, ["a", "bb", "ccc", "dddd", "eeeee"]
QUICK = {"backoff": 0.001, "tries": 2, "timeout": 0.2, "batch": 2}


def lengths(asked):
    return Answer(body={"scores": [len(answer) for answer in asked.body["completions"]]})


def remote(server, **options):
    return load_reward(RewardSpec(members=(RemoteMember(url=server.url, **{**QUICK, **options}),)), None)


def test_answers_are_scored_in_batches_in_their_order():
    with Server(lengths) as server:
        found = remote(server, columns=("level",))(PROMPTS, ANSWERS, level=[1, 2, 3, 4, 5], other=[0] * 5)
    assert found.tolist() == [1, 2, 3, 4, 5]
    assert {asked.path for asked in server.asked} == {"/v1"}  # the url as it is written
    bodies = sorted(server.bodies, key=lambda body: body["columns"]["level"])
    assert bodies[1] == {"prompts": ["p", "p"], "completions": ["ccc", "dddd"], "columns": {"level": [3, 4]}}
    assert [len(body["prompts"]) for body in bodies] == [2, 2, 1]


def test_messages_are_sent_as_they_are():
    chat = [{"role": "assistant", "content": "a"}]
    with Server(lambda asked: Answer(body={"scores": [0.5]})) as server:
        assert remote(server)([[{"role": "user", "content": "p"}]], [chat]).tolist() == [0.5]
    (body,) = server.bodies
    assert body == {"prompts": [[{"role": "user", "content": "p"}]], "completions": [chat]}


def test_a_failure_that_passes_is_not_seen():
    with Server(in_turn(failed(500), then=Answer(body={"scores": [3]}))) as server:
        assert remote(server)(["p"], ["a"]).tolist() == [3]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (Hang(), "Unavailable: URL: no answer within 0.2 s, after 2 tries"),
        (Cut(), "Unavailable: URL: .*, after 2 tries"),
        (failed(500, "out of memory"), "Unavailable: URL: HTTP 500: out of memory, after 2 tries"),
        (failed(404), "Refused: URL: HTTP 404: no"),
        (Answer(body=b'{"scores": [1, 2'), "BadReply: URL: the reply is no JSON: .*, after 2 tries"),
        (Answer(body=[1, 2]), r"BadReply: URL: the reply is no \{scores: \[...\]\}, after 2 tries"),
        (Answer(body={"scores": [1]}), "BadReply: URL: the reply has 1 scores for 2 answers, after 2 tries"),
        (Answer(body=b'{"scores": [1, NaN]}'), "BadReply: URL: the score of answer 1 is nan, no finite number, after"),
        (Answer(body={"scores": [None, 1]}), "BadReply: URL: the score of answer 0 is None, no finite number, after"),
        (Answer(body={"scores": [1, True]}), "BadReply: URL: the score of answer 1 is True, no finite number, after"),
        (Answer(body={"scores": ["1", 2]}), "BadReply: URL: the score of answer 0 is '1', no finite number, after"),
    ],
    ids=["hangs", "cut", "500", "404", "half", "list", "short", "nan", "null", "bool", "text"],
)
def test_what_is_no_score_is_named_or_dropped(action, message, caplog):
    with Server(lambda asked: action) as server:
        member = RemoteMember(name="judge", url=server.url, **QUICK)
        message = f"member 'judge' failed: {message.replace('URL', server.url)}"
        with pytest.raises(RewardError, match=f"^{message}"):
            load_reward(RewardSpec(members=(member,)), None)(PROMPTS[:2], ANSWERS[:2])
        both = (member, RuleMember(rule=rules.make("exact_match")))
        spec = RewardSpec(members=both, combine=make("worst"), on_member_failure="drop")
        with caplog.at_level(logging.WARNING):
            verdict = load_reward(spec, None).judge(PROMPTS[:2], ANSWERS[:2], answer=["a", "a"])
    assert verdict.scores.tolist() == [1, 0]  # of the rule alone
    assert [*verdict.dropped] == ["judge"]
    assert "the other members go on without it" in caplog.text


def test_refusals(monkeypatch):
    with Server(lengths) as server, pytest.raises(RewardError) as caught:
        remote(server, columns=("level",))(["p"], ["a"], other=[1])
    assert "ValueError: the data lack the column 'level', which is to be sent; they have ['other']" in str(caught.value)
    assert_refuses("batch = 0 must be at least 1", RemoteMember, url="http://x", batch=0)
    assert_refuses("timeout = 0 must be positive", RemoteMember, url="http://x", timeout=0)
    assert RemoteMember(url="http://localhost:80/score").label == "localhost:80"
    monkeypatch.delenv("SCORER_KEY", raising=False)
    spec = RewardSpec(members=(RemoteMember(url="http://x", key_variable="SCORER_KEY"),))
    assert_refuses("http://x needs a key; put it into the environment variable SCORER_KEY", load_reward, spec, None)

"""Checkpoints are judged while training goes on, and training does not notice."""

import json
import os
import signal
import threading

import pytest

from alignkit import checkpoints
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.trainers import Interrupted
from tests.faults.runs import trainer
from tests.recipes.runs import train
from tests.remote.server import Server, failed, in_turn, said

pytestmark = pytest.mark.smoke

STEPS = ("train.max_steps=2", "train.save_steps=1", "train.save_strategy=steps")


ONE = 16  # judgments of an evaluation: two turns of a question of each category


def judged_at(url):
    return f"evaluation={{judge: judge@{url}, limit: 1, max_new_tokens: 4, judge_format: value}}"


def evaluated(folder, url, *more):
    return train("dpo/tiny", folder, *STEPS, judged_at(url), *more)


def logged(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key.startswith(("evaluation/", "step"))} for line in lines]


def test_every_checkpoint_is_judged_and_training_is_the_same(tmp_path):
    def script(asked):
        assert "response_format" in asked.body
        return said('{"rating": 4}' if server.asked.index(asked) < ONE else '{"rating": 6}')

    with Server(script) as server:
        run = evaluated(tmp_path / "with", server.url)
    assert {path.stem for path in (tmp_path / "with/evaluation/model_answer").iterdir()} >= {"step-0", "step-2"}
    first, *_, last = [line for line in logged(run.folder) if "evaluation/score" in line]
    assert (first["step"], first["evaluation/score"], first["evaluation/missing"]) == (0, 4.0, 0.0)
    assert (last["step"], last["evaluation/missing"]) == (2, 0.0)
    assert last["evaluation/gain"] == pytest.approx(last["evaluation/score"] - 4)
    assert 0 <= last["evaluation/gain_p"] <= 1
    assert (tmp_path / "with/evaluation/report.html").is_file()
    assert "judged 4.00" in run.output
    plain = train("dpo/tiny", tmp_path / "without", *STEPS)
    assert [line["loss"] for line in lines_of(run)] == [line["loss"] for line in lines_of(plain)]


def lines_of(run):
    return [
        line
        for line in map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
        if "loss" in line and "evaluation/score" not in line
    ]


def test_a_judge_that_refuses_costs_a_warning(tmp_path):
    with (
        Server(in_turn(then=failed(401, "wrong key"))) as server,
        pytest.warns(UserWarning, match=r"step-\d was not evaluated: http://.*: HTTP 401: wrong key"),
    ):
        run = evaluated(tmp_path, server.url)
    assert 1 <= len(server.asked) <= 8, "those that were on their way when the first was refused"
    assert len(lines_of(run)) == 2


def gains(run):
    return [line for line in run.state.log_history if "evaluation/gain" in line]


def test_a_signal_ends_an_evaluation_and_the_run_that_goes_on_has_it(tmp_path):
    done = []  # by the watch, when a judgment is asked for: other processes wait for the first meanwhile
    ended = threading.Event()

    def script(asked):
        done.append(stopped.watch.done)
        if len(done) == ONE + 1:  # the first judgment of step 1
            os.kill(os.getpid(), signal.SIGTERM)
        if len(done) > ONE:  # a judge that hangs
            ended.wait(30)
        return said('{"rating": 4}')

    with Server(script) as server:
        stopped = trainer("dpo/tiny", tmp_path, *STEPS, judged_at(server.url))
        with pytest.raises(Interrupted):
            stopped.train()
        assert not ended.is_set()
        ended.set()
        assert done[0] >= 8, "answers were given before"
        assert done[ONE - 1] > done[0], "judgments, too"
        assert len(server.asked) < 2 * ONE, "those that were on their way, and none of step 2"
        newest, *_ = checkpoints.found(tmp_path)
        assert newest.name == "checkpoint-2"
        assert [line["step"] for line in logged(tmp_path) if "evaluation/score" in line] == [0]
        resumed = trainer("dpo/tiny", tmp_path, *STEPS, judged_at(server.url), checkpoint=newest)
        resumed.train(resume_from_checkpoint=newest)
    (last,) = gains(resumed)
    assert (last["step"], last["evaluation/missing"]) == (2, 0.0)
    resumed.interruption.stopped = True  # as where another process got the signal
    resumed.callback_handler.on_save(resumed.args, resumed.state, resumed.control)
    assert gains(resumed) == [last]


@pytest.mark.parametrize(
    ("recipe", "section", "message"),
    [
        (
            "dpo/tiny",
            "{judge: gpt-4}",
            "judge = 'gpt-4' names no endpoint; write judge: MODEL@http://localhost:8000/v1",
        ),
        (
            "dpo/tiny",
            "{judge: j@http://x/v1, judge_format: jsn}",
            "evaluation.judge_format = 'jsn' should be one of text, json, value; did you mean json?",
        ),
        ("dpo/tiny", "{judge: j@http://x/v1, limit: 0}", "limit = 0 must be at least 1"),
        ("dpo/tiny", "{limit: 1}", "judge"),
        ("dpo/tiny", "{judge: j@http://x/v1, judges: 2}", "judges"),
        ("bradley_terry/tiny", "{judge: j@http://x/v1}", "a reward model answers no questions; take the section out"),
        ("dpo/tiny", "{judge: j@openai, key_variable: NO_SUCH}", "needs a key; put it into the environment variable"),
        ("dpo/tiny", "{judge: j@http://x/v1, questions: nowhere.jsonl}", "no questions at "),
    ],
)
def test_what_cannot_work_is_said_before_training(tmp_path, monkeypatch, recipe, section, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r".") as caught:
        build(load(recipe, [f"evaluation={section}"]))
    assert message in str(caught.value)

"""alignkit eval: whole evaluations against a scripted judge."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from tests.cli.commands import invoke
from tests.remote.server import Server, failed, in_turn, said

MODEL = "a=tiny:llama"
QUICK = ("--max-new-tokens", "6", "--limit", "1")


def rating(asked):
    text = asked.body["messages"][-1]["content"]
    return said(f"Hm.\nRating: [[{int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10 + 1}]]")


def mt_bench(folder, url, *more, models=(MODEL,)):
    return invoke("eval", "mt-bench", *models, "--judge", f"judge@{url}", "-o", str(folder), *QUICK, *more)


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A folder in which two models have answered and are judged."""
    folder = tmp_path_factory.mktemp("run") / "evaluation"
    with Server(rating) as server:
        result = mt_bench(folder, server.url, "--alpaca-eval", models=(MODEL, "b=tiny:qwen2"))
    assert result.exit_code == 0, result.output
    assert len(server.asked) == 32
    return folder, result.output


def test_an_evaluation_from_models_to_page(answered):
    folder, output = answered
    assert "answers of a: 8 of 8" in output
    assert "judged by judge: 32 of 32" in output
    assert "0 of 16" in output
    assert {path.name for path in folder.iterdir()} >= {
        *("question.jsonl", "model_answer", "model_judgment", "report.md", "report.json", "report.html")
    }
    assert len(rows(folder / "model_answer" / "b.jsonl")) == 8
    assert len(json.loads((folder / "alpaca_eval" / "a.json").read_text())) == 8


def test_models_are_compared(answered):
    folder, _ = answered
    result = invoke("eval", "compare", "a", "b", "-o", str(folder))
    assert result.exit_code == 0
    assert "95 % interval" in result.output
    assert "on 16 answers to 8 questions" in result.output
    result = invoke("eval", "compare", "a", "c", "-o", str(folder))
    assert result.exit_code == 2
    assert f"nobody judged both a and c in {folder}; models there: a, b" in result.output
    result = invoke("eval", "show", str(folder))
    assert result.output.count("| judge |") == 3


def test_pairs_of_what_is_answered_already(answered):
    folder, _ = answered
    with Server(in_turn(then=said("[[A]]"))) as server:
        models = (MODEL, "b=tiny:qwen2")
        result = mt_bench(folder, server.url, "--mode", "pairwise-baseline", "--baseline", "b", models=models)
    assert result.exit_code == 0
    assert "answers of" not in result.output
    assert "warning: judge: the judge prefers the answer shown first in 100% of its verdicts" in result.output
    assert len(server.asked) == 32
    assert "a and b cannot be told apart" in invoke("eval", "compare", "a", "b", "-o", str(folder)).output


def test_what_is_missing_is_the_exit_code_and_is_asked_for_again(tmp_path):
    with Server(in_turn(failed(400, "too long"), said("well"), then=said("[[5]]"))) as server:
        result = mt_bench(tmp_path / "e", server.url, "--concurrency", "1")
        assert result.exit_code == 5
        assert f"a, question 1001, turn 1: {server.url}: HTTP 400: too long" in result.output
        assert "a, question 1001, turn 2: the reply holds no rating" in result.output
        assert "incomplete: 2 of 16 judgments are missing" in result.output
        assert len(server.asked) == 16
        again = mt_bench(tmp_path / "e", server.url)
        assert again.exit_code == 5
        assert "incomplete: 1 of 16 judgments are missing" in again.output
        assert len(server.asked) == 17
        assert mt_bench(tmp_path / "e", server.url, "--allow-missing", "0.1").exit_code == 0
        assert len(server.asked) == 17


def test_an_unknown_judge_and_a_wrong_key_stop_at_once(tmp_path):
    with Server(in_turn(then=failed(404, "no model judge"))) as server:
        result = mt_bench(tmp_path / "e", server.url, "--concurrency", "1")
    assert result.exit_code == 5
    assert f"stopped: {server.url}: HTTP 404: no model judge" in result.output
    assert len(server.asked) == 1
    result = mt_bench(tmp_path / "e", "openai", "--key-variable", "NO_SUCH_KEY")
    assert result.exit_code == 2
    assert "needs a key; put it into the environment variable NO_SUCH_KEY" in result.output


def test_a_dry_run_asks_nothing_and_writes_nothing(tmp_path):
    prices = ("--input-price", "2", "--output-price", "8")
    result = mt_bench(tmp_path / "e", "http://127.0.0.1:9/v1", "--dry-run", *prices)
    assert result.exit_code == 0
    assert "a: 8 of 8 questions to answer" in result.output
    assert "judge: 16 requests of about" in result.output
    assert "at these prices" in result.output
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--max-cost", "1"), "--max-cost needs --input-price and --output-price, per million tokens"),
        (("--mode", "pairwise-all"), "pairwise-all compares models with each other; name at least two"),
        (("--mode", "pairwise-baseline"), "the baseline None is none of the models a; write --baseline NAME"),
        (("--questions", "nowhere.jsonl"), "no questions at nowhere.jsonl"),
        (("--prompts", "nowhere.jsonl"), "there is no file nowhere.jsonl"),
        (("b=tiny:llama", "b=tiny:qwen2"), "two models are called b; write NAME=MODEL for one of them"),
    ],
)
def test_contradictions_are_refused(tmp_path, more, message):
    result = mt_bench(tmp_path / "e", "http://127.0.0.1:9/v1", *more)
    assert result.exit_code == 2
    assert message in result.output


def test_a_judge_is_held_to_a_form(tmp_path):
    def script(asked):
        (key,) = asked.body["response_format"]["json_schema"]["schema"]["required"]
        return said(json.dumps({key: {"rating": 3, "verdict": "A"}[key]}))

    with Server(script) as server:
        result = mt_bench(tmp_path / "e", server.url, "--judge-format", "value")
    assert result.exit_code == 0, result.output
    found = rows(tmp_path / "e/model_judgment/judge_single.jsonl")
    assert [(row["score"], row["judgment"]) for row in found] == [(3.0, "Rating: [[3]]")] * 16
    args = ("--judge", "j=tiny:qwen2", "-o", str(tmp_path / "x"), "--judge-format", "json")
    result = invoke("eval", "mt-bench", MODEL, *args)
    assert result.exit_code == 2
    assert "tiny:qwen2 on this machine is held to no form; serve it, and write --judge tiny:qwen2@URL" in result.output


def test_a_model_that_judges_itself_is_warned_about(tmp_path):
    result = invoke("eval", "mt-bench", "x=tiny:llama", "--judge", "tiny:llama", "-o", str(tmp_path), "--dry-run")
    assert (
        "warning: tiny-llama judges its own answers, x: models prefer what they would say themselves" in result.output
    )


def test_a_model_on_this_machine_judges(tmp_path):
    args = ("--judge", "j=tiny:qwen2", "-o", str(tmp_path / "e"), "--max-new-tokens", "2", "--limit", "1")
    result = invoke("eval", "mt-bench", MODEL, *args, "--max-judgment-tokens", "4")
    assert result.exit_code == 5, "a model that was never trained rates nothing"
    assert "incomplete: 16 of 16 judgments are missing" in result.output


def test_vllm_answers_all_questions_at_once(tmp_path, monkeypatch):
    engines = []

    class Engine:
        def __init__(self, **options):
            self.asked = []
            engines.append(self)

        def generate(self, prompts, params, use_tqdm):
            self.asked.append((len(prompts), params.temperature, params.max_tokens, params.seed))
            said = SimpleNamespace(text="b", token_ids=[1], finish_reason="stop")
            return [SimpleNamespace(outputs=[said]) for _ in prompts]

    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = Engine, lambda **options: SimpleNamespace(**options)
    monkeypatch.setitem(sys.modules, "vllm", module)
    with Server(rating) as server:
        result = mt_bench(tmp_path / "e", server.url, "--engine", "vllm", "--batch-size", "1")
    assert result.exit_code == 0, result.output
    (engine,) = engines
    assert engine.asked == [one for one in ((4, 0.0, 6, 0), (2, 0.1, 6, 0), (2, 0.7, 6, 0)) for _ in (1, 2)]
    assert rows(tmp_path / "e/model_answer/a.jsonl")[0]["choices"] == [{"index": 0, "turns": ["b", "b"]}]


def test_without_vllm_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    result = mt_bench(tmp_path / "e", "http://127.0.0.1:9/v1", "--engine", "vllm")
    assert result.exit_code == 2
    assert "; pip install vllm, or take transformers" in result.output


@pytest.mark.smoke
def test_killed_in_the_middle_nothing_is_lost_and_nothing_asked_twice(tmp_path):
    """A run of its own is killed with SIGKILL while the judge answers, twice, and then goes on."""
    folder = tmp_path / "e"
    program = [sys.executable, "-m", "alignkit", "eval", "mt-bench", "a=tiny:llama", "-o", str(folder), *QUICK]
    with Server(lambda asked: (time.sleep(0.02), rating(asked))[1]) as server:
        assert mt_bench(folder, server.url, "--dry-run").exit_code == 0
        command = [*program, "--judge", f"judge@{server.url}", "--concurrency", "2"]
        for wanted in (4, 9):
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while len(server.asked) < wanted and process.poll() is None:
                    time.sleep(0.005)
                os.kill(process.pid, signal.SIGKILL)
        result = mt_bench(folder, server.url)
    assert result.exit_code == 0, result.output
    asked = [body["messages"][-1]["content"] for body in server.bodies]
    assert len({*asked}) == 16
    assert len(asked) <= 16 + 2 * 2, "only what was on its way when the process died is asked again"
    found = rows(folder / "model_judgment" / "judge_single.jsonl")
    assert len({(row["question_id"], row["turn"]) for row in found}) == len(found) == 16

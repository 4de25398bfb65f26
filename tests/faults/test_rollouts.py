"""Faults while answers are sampled and scored: the run ends in order, and goes on as if nothing had been."""

import json
import os
import signal

import pytest

from alignkit import checkpoints
from tests.cli.commands import invoke
from tests.faults.sides import digest
from tests.recipes.runs import CLOCK
from tests.remote.server import Answer, Server, failed

pytestmark = pytest.mark.smoke

AWAY = failed(503, "away")


def lengths(asked):
    return Answer(body={"scores": [len(completion) for completion in asked.body["completions"]]})


class Counted:
    """A script that does something else at requests of these numbers; one request is one step."""

    def __init__(self, others) -> None:
        self.left, self.others = 0, others

    def __call__(self, asked):
        self.left += 1
        return self.others.get(self.left, lengths)(asked)


@pytest.fixture(scope="module")
def server():
    with Server(lengths) as found:
        yield found


def train(folder, server, evaluated=False, **others):
    server.script = Counted({int(number.removeprefix("at_")): other for number, other in others.items()})
    reward = f"reward={{members: [{{url: '{server.url}', tries: 2, backoff: 0.01, concurrency: 1}}]}}"
    options = ["train.max_steps=4", "train.disable_tqdm=true", f"train.output_dir={folder}"]
    if not evaluated:
        options.append("train.eval_strategy=no")
    return invoke("train", "grpo/tiny", reward, *options, "--resume", "auto")


def terminate(asked):
    os.kill(os.getpid(), signal.SIGTERM)
    return lengths(asked)


def away(asked):
    return AWAY


def outcome(folder):
    entries = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    logged = [{key: one[key] for key in one if not key.endswith(CLOCK)} for one in entries if "loss" in one]
    return digest(folder / "model.safetensors"), logged


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNKIT_CACHE", str(request.config.cache.mkdir("alignkit")))
        folder = tmp_path_factory.mktemp("whole")
        assert train(folder, server).exit_code == 0
        return outcome(folder)


def test_a_reward_that_is_away_for_a_while_and_then_for_too_long(server, whole, tmp_path):
    never = dict.fromkeys(["at_2", "at_4", "at_5"], away)  # the second step once, the third in all tries
    result = train(tmp_path, server, **never)
    assert result.exit_code == 75
    assert result.stderr.splitlines()[-1] == (
        f"error: member '{server.url.split('/')[2]}' failed: Unavailable: {server.url}: HTTP 503: away, after 2 tries; "
        "step 2 is saved; --resume auto goes on from it"
    )
    assert [path.name for path in checkpoints.found(tmp_path)] == ["checkpoint-2"]
    assert train(tmp_path, server).exit_code == 0
    assert outcome(tmp_path) == whole


def test_a_signal_while_answers_are_scored(server, whole, tmp_path):
    result = train(tmp_path, server, at_3=terminate)
    assert result.exit_code == 75
    assert result.stderr.splitlines()[-1] == "stopped and saved at step 3; --resume auto goes on"
    assert train(tmp_path, server).exit_code == 0
    assert outcome(tmp_path) == whole


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"at_4": terminate}, "stopped and saved at step 2; --resume auto goes on"),
        ({"at_4": away, "at_5": away}, "after 2 tries; step 2 is saved; --resume auto goes on from it"),
    ],
    ids=["signal", "away"],
)
def test_in_an_evaluation_of_sampled_answers(server, whole, faults, said, tmp_path):
    """After step 2, in the second of four batches: saved at once, and not a batch more is scored."""
    result = train(tmp_path, server, evaluated=True, **faults)
    assert result.exit_code == 75
    assert result.stderr.splitlines()[-1].endswith(said)
    assert server.script.left == max(int(number.removeprefix("at_")) for number in faults)
    assert [path.name for path in checkpoints.found(tmp_path)] == ["checkpoint-2"]
    assert train(tmp_path, server, evaluated=True).exit_code == 0
    assert outcome(tmp_path) == whole
    entries = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [one["step"] for one in entries if "eval_loss" in one][:1] == [2], "whoever goes on evaluates first"

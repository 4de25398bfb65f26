"""A fault on one of two ranks stops both, in order, and by the name of the rank; killed ones go on to 1e-6."""

import json
from shutil import which

import pytest

from alignkit import checkpoints
from tests.launching import ROOT, accelerate, launch, torchrun

pytestmark = pytest.mark.smoke


FAULTS = (
    "a_signal_to_one",
    "a_loss_that_is_none_on_one",
    "nothing_happens",
    "both_killed",
    "a_reward_away_on_one",
    "one_hangs",
)
NO_NUMBERS = (
    "a_loss_that_is_none_on_one",
    "an_infinite_loss_on_one",
    "a_gradient_that_is_none_on_one",
    "a_gradient_that_is_none_left_out",
)
CONFIGS = ROOT / "recipes" / "accelerate"


def done(folder, *faults):
    """What both ranks said, and the launch."""
    program = [*torchrun(2), str(ROOT / "tests" / "faults" / "on_two_ranks.py"), str(folder), *faults]
    result = launch(program, folder, ACCELERATE_USE_CPU="true")
    return [line for line in result.stdout.splitlines() if line.startswith("rank ")], result


def test_a_rank_that_dies_is_named_and_the_other_stops(tmp_path):
    said, result = done(tmp_path, "one_dies")
    assert result.returncode != 0
    assert not said, "the other went on"
    root = result.stderr.partition("Root Cause (first observed failure)")[2]
    assert "rank      : 1 (local_rank: 1)" in root, result.stderr
    assert "Signal 9 (SIGKILL)" in root
    newest, *_ = checkpoints.found(tmp_path / "one_dies")
    assert (newest.name, checkpoints.damage(newest)) == ("checkpoint-2", None)


def done_by_deepspeed(stage, folder, *faults):
    program = [*accelerate(CONFIGS / f"{stage}-cpu.yaml"), str(ROOT / "tests" / "faults" / "on_two_ranks.py")]
    result = launch([*program, str(folder), *faults], folder, seconds=600)  # the first one compiles
    return [line for line in result.stdout.splitlines() if line.startswith("rank ")], result


@pytest.mark.skipif(which("c++") is None, reason="DeepSpeed needs a compiler on CPUs")
@pytest.mark.parametrize("stage", ["zero2", pytest.param("zero3", marks=pytest.mark.matrix)])
def test_deepspeed_makes_no_update_from_what_is_no_number(stage, tmp_path):
    said, result = done_by_deepspeed(stage, tmp_path, *NO_NUMBERS)
    before = "at step 1, weights as before True"
    for rank in (0, 1):
        assert [line for line in said if line.startswith(f"rank {rank}")] == [
            f"rank {rank}: the loss is not finite at step 2 (rank 1), {before}",
            f"rank {rank}: the loss is not finite at step 2 (rank 1), {before}",
            f"rank {rank}: the gradient is not finite at step 2 (rank 0, 1), {before}",
            f"rank {rank}: left out [2], weights moved [True, False, True]",
        ], result.stderr


def assert_scored_again(said, result):
    """After a server that gave rank 1 no answer; to the bit, since nothing was computed in another order."""
    for rank in (0, 1):
        assert f"rank {rank}: exit code 75" in said, result.stderr
        assert f"rank {rank}: scored again after checkpoint-2, off by 0.0e+00" in said
    ended = "error: process 1: member 'scores' failed; step 2 is saved; --resume auto goes on from it"
    assert result.stderr.count(ended) == 2


@pytest.mark.matrix
@pytest.mark.skipif(which("c++") is None, reason="DeepSpeed needs a compiler on CPUs")
def test_a_reward_away_on_one_under_zero3(tmp_path):
    assert_scored_again(*done_by_deepspeed("zero3", tmp_path, "a_reward_away_on_one"))


def test_one_of_two(tmp_path):
    said, result = done(tmp_path, *FAULTS)
    assert sorted(line for line in said if "interrupted" in line) == [
        f"rank {rank}: interrupted True, checkpoint-3, damage None" for rank in (0, 1)
    ], result.stderr
    assert sorted(line for line in said if "finite" in line) == [
        f"rank {rank}: the loss is not finite at step 2 (rank 1), at step 1, weights as before True" for rank in (0, 1)
    ]
    assert not (tmp_path / "a_loss_that_is_none_on_one" / "nonfinite-2-rank0.json").exists()
    assert (tmp_path / "a_loss_that_is_none_on_one" / "nonfinite-2.json").is_file()
    assert not [line for line in said if "went on" in line]
    (gap,) = {line.rpartition("off by ")[2] for line in said if "resumed from checkpoint-3, " in line}
    assert float(gap) <= 1e-6
    assert_scored_again(said, result)
    assert "nothing has moved for 4 s, and rank 1 on " in result.stderr
    assert "is behind the others; --resume auto goes on from the newest checkpoint" in result.stderr
    assert result.returncode != 0


@pytest.mark.matrix
def test_a_checkpoint_that_has_not_its_name_yet_is_taken_by_both(tmp_path):
    """As a kill at the end of a save leaves it. The second looks before the first has given it its name, or after."""
    options = ("train.save_strategy=steps", "train.save_steps=1", "train.eval_strategy=no", "train.output_dir=out")
    command = [*torchrun(2), "-m", "alignkit", "train", "dpo/tiny", *options, "--resume", "auto"]
    environment = {"ACCELERATE_USE_CPU": "true"}
    first = launch(command, tmp_path, **environment)
    assert first.returncode == 0, first.stderr
    (tmp_path / "out" / "_saving").mkdir()
    (tmp_path / "out" / "checkpoint-2").rename(tmp_path / "out" / "_saving" / "checkpoint-2")
    again = launch(command, tmp_path, **environment)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "checkpoint-2").is_dir()
    logged = map(json.loads, (tmp_path / "out" / "metrics.jsonl").read_text().splitlines())
    assert [one["step"] for one in logged if "loss" in one] == [1, 2], "no step is trained again"

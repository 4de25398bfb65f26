"""Faults on one of two ranks, one after the other in a launch; test_two_ranks.py starts it and reads what it says.

on_two_ranks.py FOLDER FAULT...
"""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from alignkit import checkpoints
from alignkit.cli._errors import run_errors
from alignkit.remote import Unavailable
from alignkit.rewards._reward import RewardError
from alignkit.trainers import Diverged, Interrupted
from tests.faults.runs import SAVED, At, Killed, killed, logged, trainer
from tests.faults.test_nonfinite import Spoilt

RANK = int(os.environ["RANK"])
SIX = ("train.max_steps=6", "train.per_device_train_batch_size=2", "train.save_steps=100")
HALFWAY = "train.save_steps=3"


def say(text: str) -> None:
    # one write, so that the lines of two processes do not run into each other
    sys.stdout.write(f"rank {RANK}: {text}\n")
    sys.stdout.flush()


def run(folder: Path, *overrides: str, checkpoint: Path | None = None):
    options = dict(option.partition("=")[::2] for option in (*SAVED, *SIX, *overrides))
    return trainer("dpo/tiny", folder, *(f"{key}={value}" for key, value in options.items()), checkpoint=checkpoint)


def a_signal_to_one(folder: Path) -> None:
    stopped = run(folder)
    if RANK == 1:
        stopped.add_callback(At("on_step_begin", 2, lambda: signal.raise_signal(signal.SIGTERM)))
    with suppress(Interrupted):
        stopped.train()
    (whole,) = checkpoints.found(folder)
    say(f"interrupted {stopped.interrupted}, {whole.name}, damage {checkpoints.damage(whole)}")


def a_loss_that_is_none_on_one(folder: Path) -> None:
    diverged = run(folder)
    if RANK == 1:
        diverged.objective = Spoilt(diverged.objective, float("nan"), 2)
    say_how_it_diverges(diverged)


def an_infinite_loss_on_one(folder: Path) -> None:
    """Its gradient is finite."""
    diverged = run(folder)
    if RANK == 1:
        diverged.objective = Spoilt(diverged.objective, float("inf"), 2)
    say_how_it_diverges(diverged)


def a_gradient_that_is_none_on_one(folder: Path) -> None:
    diverged = run(folder)
    spoil_gradients(diverged, step=1)
    say_how_it_diverges(diverged)


def a_gradient_that_is_none_left_out(folder: Path) -> None:
    skipping = run(folder, "train.on_nonfinite=skip")
    spoil_gradients(skipping, step=1)
    seen: dict[int, float] = {}
    for step in (0, 1, 2, 5):
        skipping.add_callback(At("on_step_begin", step, lambda step=step: seen.update({step: total(skipping)})))
    skipping.train()
    left_out = [entry["step"] for entry in logged(skipping) if "skipped_steps" in entry]
    say(f"left out {left_out}, weights moved {[seen[0] != seen[1], seen[1] != seen[2], seen[2] != seen[5]]}")


def say_how_it_diverges(run) -> None:
    seen: dict[int, float] = {}
    run.add_callback(At("on_step_begin", 1, lambda: seen.update({1: total(run)})))
    try:
        run.train()
    except Diverged as error:
        same = total(run) == seen[1]
        say(f"{str(error).split('.')[0]}, at step {run.state.global_step}, weights as before {same}")


def spoil_gradients(run, step: int) -> None:
    """On rank 1, that of the output head in one step."""
    if RANK != 1:
        return
    hooks = []
    run.add_callback(At("on_step_begin", step, lambda: hooks.append(run.model.lm_head.weight.register_hook(none_of))))
    run.add_callback(At("on_step_begin", step + 1, lambda: hooks.pop().remove()))


def none_of(gradient: torch.Tensor) -> torch.Tensor:
    return gradient * float("nan")


def total(run) -> float:
    """A number that changes with the weights this rank holds, all of them or its part."""
    return sum(float(part.double().square().sum()) for part in held(run))


def nothing_happens(folder: Path) -> None:
    whole = run(folder)
    whole.train()
    whole.save_model()
    if RANK == 0:
        (folder / "logged.json").write_text(json.dumps(logged(whole)))


def both_killed(folder: Path) -> None:
    cut = run(folder, HALFWAY)
    cut.add_callback(At("on_step_end", 5, killed))
    with suppress(Killed):
        cut.train()
    checkpoint = checkpoints.newest_whole(folder, say)
    resumed = run(folder, HALFWAY, checkpoint=checkpoint)
    resumed.train(resume_from_checkpoint=checkpoint)
    whole = folder.with_name(nothing_happens.__name__)
    expected = json.loads((whole / "logged.json").read_text())
    gaps = [abs(ours[key] - one[key]) for ours, one in zip(logged(resumed), expected, strict=True) for key in one]
    weights = load_file(whole / "model.safetensors")
    gaps += [float((tensor - weights[name]).abs().max()) for name, tensor in resumed.model.state_dict().items()]
    say(f"resumed from {checkpoint.name}, off by {max(gaps):.1e}")


def a_reward_away_on_one(folder: Path) -> None:
    """The server of a reward gives rank 1 no answer in the third step; the other has its scores and waits for them."""
    whole = rl(folder / "whole")
    whole.train()
    stopped = rl(folder)
    if RANK == 1:
        (agreeing,) = stopped.reward_funcs
        agreeing.function = Away(agreeing.function, 3)
    try:
        with run_errors():
            stopped.train()
    except SystemExit as end:
        say(f"exit code {end.code}")
    checkpoint = checkpoints.newest_whole(folder, say)
    resumed = rl(folder, checkpoint=checkpoint)
    resumed.train(resume_from_checkpoint=checkpoint)
    pairs = zip(logged(resumed), logged(whole), strict=True)
    gaps = [abs(one[key] - other[key]) for one, other in pairs for key in one]
    gaps += [float((one - other).abs().max()) for one, other in zip(held(resumed), held(whole), strict=True)]
    say(f"scored again after {checkpoint.name}, off by {max(gaps):.1e}")


def rl(folder: Path, checkpoint: Path | None = None):
    options = ("train.max_steps=4", "train.save_strategy=no", "train.eval_strategy=no")
    return trainer("grpo/tiny", folder, *options, checkpoint=checkpoint)


def held(run: Any) -> list[Any]:
    """Weights on this rank, all of them or its part."""
    return [getattr(weight, "ds_tensor", weight).detach() for weight in run.model.parameters()]


class Away:
    """A reward whose server does not answer the `number`-th call."""

    def __init__(self, reward: Any, number: int) -> None:
        self.reward, self.left = reward, number

    def __call__(self, **asked: Any) -> list[float]:
        self.left -= 1
        if self.left == 0:
            raise RewardError("member 'scores' failed") from Unavailable("http://scores", "away, after 2 tries")
        return self.reward(**asked)


def one_hangs(folder: Path) -> None:
    hanging = run(folder)
    hanging.rank_timeout = 4.0
    if RANK == 1:
        hanging.add_callback(At("on_step_begin", 1, lambda: time.sleep(600)))
    hanging.train()
    say("went on")


def one_dies(folder: Path) -> None:
    dying = run(folder, "train.save_steps=1")
    if RANK == 1:
        dying.add_callback(At("on_step_begin", 2, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    dying.train()
    say("went on")


if __name__ == "__main__":
    for fault in sys.argv[2:]:
        globals()[fault](Path(sys.argv[1]) / fault)

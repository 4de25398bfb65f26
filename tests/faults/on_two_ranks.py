"""Faults on one of two ranks, one after the other in one launch; test_two_ranks.py starts it and reads what it says."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from alignkit import checkpoints
from alignkit.trainers import Diverged, Interrupted
from tests.faults.runs import SAVED, At, trainer
from tests.faults.test_nonfinite import Spoilt

RANK = int(os.environ["RANK"])


def say(text: str) -> None:
    # one write, so that the lines of two processes do not run into each other
    sys.stdout.write(f"rank {RANK}: {text}\n")
    sys.stdout.flush()


def run(folder: Path, *overrides: str):
    options = (*SAVED, "train.max_steps=6", "train.per_device_train_batch_size=2", "train.save_steps=100")
    options = [option for option in options if option != "train.save_steps=3"]
    return trainer("dpo/tiny", folder, *options, *overrides)


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
    try:
        diverged.train()
    except Diverged as error:
        finite = all(tensor.isfinite().all() for tensor in diverged.model.state_dict().values())
        say(f"{str(error).split('.')[0]}, at step {diverged.state.global_step}, weights finite {finite}")


def one_hangs(folder: Path) -> None:
    hanging = run(folder)
    hanging.rank_timeout = 4.0
    if RANK == 1:
        hanging.add_callback(At("on_step_begin", 1, lambda: time.sleep(600)))
    hanging.train()
    say("went on")


if __name__ == "__main__":
    for fault in (a_signal_to_one, a_loss_that_is_none_on_one, one_hangs):
        fault(Path(sys.argv[1]) / fault.__name__)

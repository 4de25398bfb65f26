"""Kills a training at random, resumes it, and compares.

A run is killed with SIGKILL at a random moment, or at a random moment of a save, and started again with `--resume auto`
until it ends. Then its weights and what it logged must be those of a run that nothing happened to, to the last bit; and
so on with further runs until there were enough kills. Every run is a fork of a process that has imported everything.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.checkpoints import ASIDE
from alignkit.recipe.metrics_file import NAME

Train = Callable[[list[str]], None]

SAVED = ("train.save_strategy=steps", "train.save_steps=3", "train.save_total_limit=2", "train.eval_strategy=no")
CLOCK = ("_runtime", "_per_second", "_time")  # how keys of what a clock says end
IN_SAVES = 1 / 3  # of the kills
SAVE = 0.1  # seconds after the start of a save within which it is killed
LIFE = 1 / 2  # of the time of a whole run, within which others are
LOOK = 0.0005  # seconds between two looks at a run


@dataclass
class Tally:
    """What was done, and how often."""

    runs: int = 0
    kills: int = 0
    unfinished: int = 0  # kills that left a save half done

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, {self.kills} kills, {self.unfinished} of them within a save; "
            "weights and logged values are those of the run without kills, to the last bit"
        )


def soak(train: Train, recipe: str, overrides: Sequence[str], kills: int, seed: int) -> Tally:
    """Kill runs of a recipe until there were so many kills, and finish the last one.

    Args:
        train: `alignkit train` with these arguments; it ends with SystemExit.
        recipe: as `alignkit train` takes it.
        overrides: of the recipe.
        kills: how many.
        seed: of the moments. What is going on then is the machine's affair.

    Raises:
        SystemExit: a run failed, or came to another end than the one without kills; the message says which.
    """
    place, draw, tally = Path(tempfile.mkdtemp(prefix="soak-")), random.Random(seed), Tally()
    options = [recipe, *SAVED, *overrides]
    began = time.monotonic()
    finish(start(train, options, place / "whole"), place / "whole")
    seconds = time.monotonic() - began
    expected = outcome(place / "whole")
    while tally.kills < kills:
        folder = place / f"run-{tally.runs}"
        while tally.kills < kills and killed(start(train, options, folder), folder, draw, seconds, tally):
            pass
        if tally.kills == kills:
            finish(start(train, options, folder), folder)
        if outcome(folder) != expected:
            sys.exit(f"{folder} differs from {place / 'whole'} after {tally.kills} kills, seed {seed}")
        tally.runs += 1
        print(f"{time.monotonic() - began:6.0f} s  {tally.runs} runs, {tally.kills} kills", flush=True)
        shutil.rmtree(folder)
    shutil.rmtree(place)
    return tally


def start(train: Train, options: Sequence[str], folder: Path) -> int:
    """`alignkit train ... --resume auto` in a copy of this process; its number."""
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    log = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        train([*options, f"train.output_dir={folder}", "train.disable_tqdm=true", "--resume", "auto"])
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def killed(run: int, folder: Path, draw: random.Random, seconds: float, tally: Tally) -> bool:
    """Kill a run at a random moment; False where it ended before."""
    in_save, before = draw.random() < IN_SAVES, saving(folder)
    life = draw.uniform(0, SAVE if in_save else LIFE * seconds)
    while in_save and saving(folder) in (None, before):
        if ended(run, folder):
            return False
        time.sleep(LOOK)
    until = time.monotonic() + life
    while time.monotonic() < until:
        if ended(run, folder):
            return False
        time.sleep(LOOK)
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    tally.kills += 1
    tally.unfinished += saving(folder) not in (None, before)
    return True


def saving(folder: Path) -> int | None:
    """Since when a save is under way, by the file system; None where none is. A kill leaves one behind."""
    try:
        return (folder / ASIDE).stat().st_ctime_ns
    except FileNotFoundError:
        return None


def finish(run: int, folder: Path) -> None:
    while not ended(run, folder):
        time.sleep(LOOK)


def ended(run: int, folder: Path) -> bool:
    """Whether a run is through. SystemExit if it failed."""
    number, status = os.waitpid(run, os.WNOHANG)
    if number and status:
        sys.exit(f"a run ended with status {os.waitstatus_to_exitcode(status)}; what it said is in {folder / 'said'}")
    return bool(number)


def outcome(folder: Path) -> dict[str, Any]:
    """SHA-256 of the saved weights, and what was logged of each step."""
    entries = map(json.loads, (folder / NAME).read_text(encoding="utf-8").splitlines())
    logged = [{key: one[key] for key in one if not key.endswith(CLOCK)} for one in entries if "loss" in one]
    return {"weights": [*map(digest, sorted(folder.glob("*.safetensors")))], "logged": logged}


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

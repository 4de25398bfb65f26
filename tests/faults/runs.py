"""A shipped recipe built in this process, and things done to it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from alignkit.recipe import load
from alignkit.recipe.build import build
from tests.recipes.runs import CLOCK

SAVED = ("train.save_strategy=steps", "train.save_steps=3", "train.eval_strategy=no")


class Killed(BaseException):
    """What SIGKILL leaves undone is what no handler does."""


def trainer(recipe: str, folder: Path, *overrides: str, checkpoint: Path | None = None) -> Any:
    options = [f"train.output_dir={folder}", "train.disable_tqdm=true", *overrides]
    return build(load(recipe, options), checkpoint=checkpoint)


class At(TrainerCallback):
    """Does something when an event comes at a step."""

    def __init__(self, event: str, step: int, action: Callable[[], Any]) -> None:
        def act(args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                action()

        setattr(self, event, act)


def killed() -> None:
    raise Killed


def logged(run: Any) -> list[dict[str, float]]:
    """What was logged with a loss, without what a clock says."""
    return [
        {key: value for key, value in entry.items() if not key.endswith(CLOCK)}
        for entry in run.state.log_history
        if "loss" in entry
    ]


def dies_at_write(number: int, folder: Path, action: Callable[[], Any]) -> int | None:
    """Do something in a copy of this process that is killed at its `number`-th write below `folder`.

    Returns the signal that ended it, or None where it got through.
    """
    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(killer(number, str(folder)))
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None


def killer(number: int, folder: str) -> Callable[[str, Any], None]:
    left = [number]

    def hook(event: str, args: Any) -> None:
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if (writes or event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove")) and str(args[0]).startswith(folder):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), 9)

    return hook

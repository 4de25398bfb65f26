"""The same training twice over, as users start it: by `alignkit train`, and by a program on plain TRL.

Each run is a process of its own, so that it can be killed and has an exit code; a fork of one that has imported
everything, so that this costs no imports.
"""

import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import DPOTrainer

from alignkit.cli.train import command
from alignkit.recipe import load
from alignkit.recipe.build import load_recipe_data, load_recipe_model, load_recipe_tokenizer, training_arguments
from tests.faults.runs import logged

Strike = Callable[[Any], None]  # done to a trainer that is about to train

RECIPE = "dpo/tiny"
STEPS, SAVED = 8, 3
OPTIONS = (
    f"train.max_steps={STEPS}",
    f"train.save_steps={SAVED}",
    "train.save_strategy=steps",
    "train.eval_strategy=no",
    "train.logging_steps=2",
    "train.disable_tqdm=true",
)
SAID, DONE, ENDED = "said", "steps", "logged.json"  # what a run leaves in its folder, beside what it saves


def by_alignkit(folder: Path) -> None:
    command.main([RECIPE, *OPTIONS, f"train.output_dir={folder}", "--resume", "auto"])


def by_trl(folder: Path) -> None:
    """The same model, data and options, with what TRL's and transformers' documentation say of resuming."""
    recipe = load(RECIPE, [*OPTIONS, f"train.output_dir={folder}"])
    args, data = training_arguments(recipe), load_recipe_data(recipe)
    tokenizer = load_recipe_tokenizer(recipe, data)
    model = load_recipe_model(recipe, args)
    trainer = DPOTrainer(model=model, args=args, train_dataset=data.train, processing_class=tokenizer)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(folder))
    trainer.save_model()


SIDES = {"alignkit": by_alignkit, "TRL": by_trl}


def run(side: str, folder: Path, strike: Strike | None = None) -> int:
    """Train to the end, or to what `strike` makes of it; the exit code, or minus the signal."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(side, folder, strike, os.environ["ALIGNKIT_CACHE"]))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def outcome(folder: Path) -> tuple[str, list[dict[str, float]]]:
    """SHA-256 of the weights of a run that ended, and what it logged."""
    return digest(folder / "model.safetensors"), json.loads((folder / ENDED).read_text())


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(side: str, folder: Path, strike: Strike | None, cache: str) -> None:
    os.environ["ALIGNKIT_CACHE"] = cache
    said = os.open(folder / SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    original = Trainer.train

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.add_callback(Steps(folder / DONE))
        if strike is not None:
            strike(self)
        try:
            return original(self, *args, **kwargs)
        finally:
            (folder / ENDED).write_text(json.dumps(logged(self)))

    Trainer.train = train
    try:
        SIDES[side](folder)
    finally:
        sys.stdout.flush()


class Steps(TrainerCallback):
    """Writes each step down when it is done; twice where it is done twice."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with self.file.open("a") as file:
            file.write(f"{state.global_step}\n")

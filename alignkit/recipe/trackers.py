"""Trackers: what they show as a run's settings, and that none of them ends a run.

The settings are the recipe, not TRL's defaults for losses that are never computed.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignkit.recipe.moved_keys import OBJECTIVE_OWNS
from alignkit.recipe.schema import Recipe
from alignkit.redaction import redact

logger = logging.getLogger(__name__)


PATIENCE = 600


def shield_trackers(trainer: Any) -> None:
    """Let training go on, and end, without a tracker that fails; metrics.jsonl has everything.

    wandb waits for as long as its server is away, and a cluster with it; here for `PATIENCE` seconds, unless
    WANDB_FINISH_TIMEOUT says otherwise or weights are uploaded, which takes its time.
    """
    if os.environ.get("WANDB_LOG_MODEL", "false") == "false":
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", str(PATIENCE))
    callbacks = trainer.callback_handler.callbacks
    for place, callback in enumerate(callbacks):
        if type(callback).__module__.startswith("transformers.integrations"):
            callbacks[place] = Shielded(callback)


class Shielded(TrainerCallback):
    """A tracker that is dropped, with one warning, the first time that it fails."""

    def __init__(self, tracker: TrainerCallback) -> None:
        self.tracker: TrainerCallback | None = tracker

    def forward(self, event: str, *args: Any, **kwargs: Any) -> Any:
        if self.tracker is None:
            return None
        try:
            return getattr(self.tracker, event)(*args, **kwargs)
        except Exception as error:  # whatever a service and its client raise
            name = type(self.tracker).__name__.removesuffix("Callback")
            logger.warning("%s failed and is left out from here on: %s: %s", name, type(error).__name__, error)
            self.tracker = None
            return None


def _forwarding(event: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: self.forward(event, *args, **kwargs)


for _event in [name for name in vars(TrainerCallback) if name.startswith("on_")]:
    setattr(Shielded, _event, _forwarding(_event))


class RecipeInWandb(TrainerCallback):
    """Adds the resolved recipe to the wandb run, and empties the options that the objective decides.

    transformers sends every option of TRL's config, so a run of IPO would be listed as loss_type sigmoid, beta 0.1.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        wandb: Any = sys.modules.get("wandb")  # transformers imported it and began the run, if the recipe reports there
        if wandb is None or wandb.run is None or not state.is_world_process_zero:
            return
        config = wandb.run.config
        owned = {key: None for key in OBJECTIVE_OWNS if key in config}
        config.update({**owned, "recipe": redact(self.recipe.resolved())}, allow_val_change=True)


def end_tracked_run() -> None:
    """End this process's wandb run, if there is one, so that the next trainer begins its own."""
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()

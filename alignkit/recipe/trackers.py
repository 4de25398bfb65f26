"""What a tracker shows as a run's settings: the recipe, not TRL's defaults for losses that are never computed."""

import sys
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignkit.recipe.moved_keys import OBJECTIVE_OWNS
from alignkit.recipe.provenance import redact
from alignkit.recipe.schema import Recipe


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

"""One run of a recipe from its beginning, or from a checkpoint, to the saved model."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from alignkit.data.account import DataReport
from alignkit.recipe.build import build, output_folder
from alignkit.recipe.resume import agreed, set_earlier_aside, starting_point
from alignkit.recipe.schema import Recipe


def run(
    recipe: Recipe,
    report: Callable[[DataReport], None] | None,
    prepare: Callable[[Any], None],
    *,
    load: Callable[..., Any] | None = None,
    resume: str = "never",
    force: bool = False,
    adopt: bool = False,
    building: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Any:
    """Train what a recipe says, and give the trainer when the model is saved.

    Args:
        recipe: of one run, whose folder nobody else trains in.
        report, load: as of `build`.
        prepare: called with the trainer before it trains.
        resume, adopt: as of `starting_point`.
        force: go on although recipe or data differ from the checkpoint's.
        building: entered until the trainer stands, since what fails by then is the recipe's fault.
    """
    folder = output_folder(recipe)
    with building():
        checkpoint = starting_point(folder, resume, adopt)
        trainer: Any = build(recipe, report, load=load, checkpoint=None if force else checkpoint)
    trainer.verified, checkpoint = checkpoint, agreed(checkpoint)
    set_earlier_aside(folder, checkpoint)
    prepare(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    trainer.create_model_card()  # last, since an adapter's library writes into it when it saves
    return trainer

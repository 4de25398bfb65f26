"""Training the members of an ensemble, one after the other, on one backbone in memory where their form allows it."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from accelerate.utils import DistributedType
from peft import PeftModel

from alignkit.data.account import DataReport
from alignkit.models.reward import HEAD, draw_head
from alignkit.models.spec import Adapter
from alignkit.recipe.build import load_recipe_data, load_recipe_model, output_folder, training_arguments
from alignkit.recipe.ensemble.results import Results, results_of
from alignkit.recipe.provenance import save_provenance
from alignkit.recipe.run import run
from alignkit.recipe.schema import Recipe
from alignkit.recipe.trackers import end_tracked_run
from alignkit.rewards.shared import FILE

UNSHARDED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def train_ensemble(
    recipe: Recipe,
    report: Callable[[DataReport], None] | None,
    prepare: Callable[[Any], None],
    resume: str = "never",
    force: bool = False,
    adopt: bool = False,
    building: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Results | None:
    """Train every member, save them in OUTPUT/member-0 and so on, and say what they reach on the recipe's eval data.

    Member i is the run of its own saved recipe: trained alone, it gets the same weights, bit for bit. None on all
    processes but the first.

    Args:
        recipe: one with an `ensemble`.
        report: called with the data report before the first model loads.
        prepare: called with each trainer before it trains.
        resume: "auto" takes each member's newest whole checkpoint, its last one where it is done; "never" starts anew.
        force, adopt, building: as of `run`, for each member.
    """
    with building():
        refuse_path(resume)
        members = [*member_recipes(recipe)]
    backbone = Backbone()
    for number, member in enumerate(members):
        trainer = run(
            member,
            report if number == 0 else None,
            prepare,
            load=backbone.load,
            resume=resume,
            force=force,
            adopt=adopt,
            building=building,
        )
        backbone.take_back(trainer)
        end_tracked_run()
    return finished(recipe, members, trainer.args.max_length) if trainer.is_world_process_zero() else None


def refuse_path(resume: str) -> None:
    if resume not in ("auto", "never"):
        raise ValueError(f"--resume {resume}: an ensemble goes on from checkpoints of its members; write --resume auto")


def finished(recipe: Recipe, members: list[Recipe], max_length: int | None) -> Results:
    """Make the folder of trained members an ensemble, and measure it."""
    folder = output_folder(recipe)
    data = load_recipe_data(recipe)
    save_provenance(recipe, folder, data.fingerprints)
    saved = [{"folder": f"member-{i}", "seed": member.train["seed"]} for i, member in enumerate(members)]
    listed: dict[str, Any] = {"form": form_of(recipe), "members": saved}
    (folder / FILE).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    return results_of(folder, data.eval, recipe.model.precision, max_length)


def member_recipes(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe of each member alone, with its seed and its output folder."""
    form = form_of(recipe)
    first = training_arguments(recipe).seed
    model = recipe.model
    if form == "heads":
        model = replace(model, head_only=True)
    elif form == "lora" and model.adapter is None:
        model = replace(model, adapter=Adapter())
    for number in range(recipe.ensemble.size if recipe.ensemble else 1):
        own = {"seed": first + number, "output_dir": str(output_folder(recipe) / f"member-{number}")}
        yield replace(recipe, ensemble=None, model=model, train={**recipe.train, **own})


def form_of(recipe: Recipe) -> str:
    assert recipe.ensemble is not None
    return recipe.ensemble.form


@dataclass(kw_only=True)
class Backbone:
    """The model below the adapters or heads of all members; loaded once, unless it is trained or sharded itself."""

    model: Any = field(default=None, init=False)
    head: Any = field(default=None, init=False)

    def load(self, recipe: Recipe, args: Any) -> Any:
        """What `load_recipe_model` gives, to the last bit, from memory if it is there."""
        if self.model is None:
            model = load_recipe_model(recipe, args)
            self.head = getattr(model, HEAD, None)
            return model
        draw_head(self.model, seed=args.seed)
        return self.model

    def take_back(self, trainer: Any) -> None:
        """Keep the model of a member that is trained and saved, without its adapter and its head."""
        self.model = None
        whole = trainer.accelerator.distributed_type in UNSHARDED
        if isinstance(trainer.model, PeftModel) and self.head is not None and whole:
            self.model = trainer.model.unload()
            setattr(self.model, HEAD, self.head)

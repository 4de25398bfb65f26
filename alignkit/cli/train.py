"""`alignkit train RECIPE [key=value ...]`"""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import RESUMABLE, run_errors, user_errors
from alignkit.stop_signals import give_back, take

if TYPE_CHECKING:
    from alignkit.recipe import Recipe


@click.command(name="train")
@_arguments.recipe
@_arguments.overrides
@click.option(
    "--resume",
    default="never",
    metavar="auto|never|CHECKPOINT",
    help="Go on from the newest whole checkpoint, from none (the default), or from one.",
)
@click.option("--force", is_flag=True, help="Go on although recipe or data differ from the checkpoint's.")
@click.option("--adopt", is_flag=True, help="Sign the checkpoint as your own, which another machine or user saved.")
def command(recipe: str, overrides: tuple[str, ...], resume: str, force: bool, adopt: bool) -> None:
    """Train RECIPE, a YAML file or the name of a shipped one such as dpo/tiny.

    KEY=VALUE changes one key of the recipe: objective.beta=0.05 model.path=Qwen/Qwen2.5-0.5B-Instruct.

    On several devices: accelerate launch scripts/train.py RECIPE [KEY=VALUE]...
    """
    from alignkit.cli._data_report import print_once
    from alignkit.cli._progress import use_table
    from alignkit.objectives import RewardObjective
    from alignkit.recipe import load
    from alignkit.recipe.build import output_folder
    from alignkit.recipe.profile import shown
    from alignkit.recipe.resume import only_run_in
    from alignkit.recipe.run import run

    start: dict[str, Any] = {"resume": resume, "force": force, "adopt": adopt, "building": _building}
    with run_errors(), ExitStack() as held:
        with _building():
            loaded = load(recipe, overrides)
            folder = output_folder(loaded)
            held.enter_context(only_run_in(folder))  # before anything is decided by what lies there
        if loaded.ensemble is not None:
            return _ensemble(loaded, **start)
        trainer = run(loaded, print_once, use_table, **start)
    if trainer.is_world_process_zero():
        if loaded.profile:
            click.echo(f"\n{shown(folder)}")
        adapter = loaded.model.adapter is not None or loaded.model.head_only
        reward = isinstance(loaded.objective, RewardObjective)
        click.echo(_where(folder, adapter=adapter, reward=reward))
        if trainer.args.push_to_hub:
            click.echo(f"hub:   {trainer.hub_model_id}")


@contextmanager
def _building() -> Iterator[None]:
    """Before the first step: what fails is the recipe's fault, and a signal that asks to stop finds nothing to save."""

    def leave(number: int, frame: Any) -> None:
        click.echo(f"{signal.Signals(number).name}: stopped before the first step; --resume auto goes on", err=True)
        sys.exit(RESUMABLE)

    before = take(leave)
    try:
        with user_errors():
            yield
    finally:
        give_back(before)


def _ensemble(recipe: "Recipe", **start: Any) -> None:
    """Train all members, and print what they reach."""
    from alignkit.cli._data_report import print_once
    from alignkit.cli._progress import use_table
    from alignkit.recipe.ensemble.train import train_ensemble

    results = train_ensemble(recipe, print_once, use_table, **start)
    if results is None:
        return
    if results.pairs:
        click.echo(f"\naccuracy on {results.pairs:,} held-out pairs")
        for name, accuracy in {**results.members, **results.combined}.items():
            click.echo(f"  {name:22} {accuracy:.3f}")
    else:
        click.echo(
            "\nno held-out data: neither accuracy nor calibration; write data.eval, or alignkit reward calibrate"
        )
    folder = results.folder
    click.echo(f"\nensemble: {folder}\nuse it:   reward: {{members: [{{ensemble: {folder}}}]}}")
    click.echo(f"again:    alignkit train {folder / 'recipe.yaml'}")
    click.echo(f"a member: alignkit train {folder / 'member-0' / 'recipe.yaml'}")


def _where(folder: Path, adapter: bool, reward: bool) -> str:
    """Where the model is, and how to load it."""
    loader = f"Auto{'Peft' if adapter else ''}ModelFor{'SequenceClassification' if reward else 'CausalLM'}"
    library = "peft" if adapter else "transformers"
    return (
        f"\nmodel: {folder}\n"
        f"load:  from {library} import {loader}; model = {loader}.from_pretrained({str(folder)!r})\n"
        f"again: alignkit train {folder / 'recipe.yaml'}\n"
        f"page:  {folder / 'summary.html'}"
    )

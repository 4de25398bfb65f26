"""`alignkit train RECIPE [key=value ...]`"""

from pathlib import Path

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors


@click.command(name="train")
@_arguments.recipe
@_arguments.overrides
def command(recipe: str, overrides: tuple[str, ...]) -> None:
    """Train RECIPE, a YAML file or the name of a shipped one such as dpo/tiny.

    KEY=VALUE changes one key of the recipe: objective.beta=0.05 model.path=Qwen/Qwen2.5-0.5B-Instruct.

    On several devices: accelerate launch scripts/train.py RECIPE [KEY=VALUE]...
    """
    from alignkit.cli._data_report import print_once
    from alignkit.cli._progress import use_table
    from alignkit.recipe import load
    from alignkit.recipe.build import build

    with user_errors():
        loaded = load(recipe, overrides)
        trainer = build(loaded, report=print_once)
    use_table(trainer)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()  # last, since an adapter's library writes into it when it saves
    if trainer.is_world_process_zero():
        click.echo(_where(Path(trainer.args.output_dir), adapter=loaded.model.adapter is not None))
        if trainer.args.push_to_hub:
            click.echo(f"hub:   {trainer.hub_model_id}")


def _where(folder: Path, adapter: bool) -> str:
    """Where the model is, and how to load it."""
    loader = "AutoPeftModelForCausalLM" if adapter else "AutoModelForCausalLM"
    library = "peft" if adapter else "transformers"
    return (
        f"\nmodel: {folder}\n"
        f"load:  from {library} import {loader}; model = {loader}.from_pretrained({str(folder)!r})\n"
        f"again: alignkit train {folder / 'recipe.yaml'}\n"
        f"page:  {folder / 'summary.html'}"
    )

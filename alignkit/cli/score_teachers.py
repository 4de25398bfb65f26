"""`alignkit score-teachers RECIPE [key=value ...]`"""

from pathlib import Path

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors

OUTPUT = Path("teacher_scores.parquet")


@click.command(name="score-teachers")
@_arguments.recipe
@_arguments.overrides
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Parquet file to write; by default data.teacher_scores of the recipe, or {OUTPUT}.",
)
@click.option(
    "--batch-tokens",
    default=16384,
    show_default=True,
    type=click.IntRange(1),
    help="Tokens read at once, padding counted; less needs less memory.",
)
def command(recipe: str, overrides: tuple[str, ...], output: Path | None, batch_tokens: int) -> None:
    """Score the answers of RECIPE by its teachers: the mean log-probability per token, as poft reads it.

    Each teacher reads with its own tokenizer and chat template. A run that is stopped goes on where it was. On several
    devices: accelerate launch --module alignkit score-teachers RECIPE
    """
    from alignkit.recipe import load
    from alignkit.recipe.scoring import score_teachers

    with user_errors():
        loaded = load(recipe, overrides)
        target = output or Path(loaded.data.teacher_scores or OUTPUT)
        found = score_teachers(loaded, target, batch_tokens=batch_tokens, progress=_say)
    click.echo(f"wrote {target}: {len(found.scores):,} rows, {len(found.teachers)} teachers")
    if loaded.data.teacher_scores is None or output is not None:
        click.echo(f"next: alignkit train {recipe} data.teacher_scores={target}")


def _say(teacher: str, done: int, rows: int) -> None:
    click.echo(f"{teacher}: {done:,} of {rows:,} rows", err=True)

"""`alignkit check RECIPE [key=value ...]`"""

from typing import Literal

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors


@click.command(name="check")
@_arguments.recipe
@_arguments.overrides
@click.option("--processes", default=1, show_default=True, help="Processes the run will have.")
@click.option("--zero", type=click.Choice([0, 2, 3]), default=0, show_default=True, help="DeepSpeed's stage.")
@click.option("--estimate/--no-estimate", default=True, help="Also memory and time; a few steps of a few layers run.")
def command(recipe: str, overrides: tuple[str, ...], processes: int, zero: Literal[0, 2, 3], estimate: bool) -> None:
    """Validate RECIPE, report on its data, print batch sizes, steps, tokens, memory and time. Nothing is trained."""
    from alignkit.cli._data_report import print_report
    from alignkit.recipe import load
    from alignkit.recipe.estimate.estimate import estimate as needs
    from alignkit.recipe.plan import plan
    from alignkit.recipe.preview import preview

    with user_errors():
        read = load(recipe, overrides)
        seen = preview(read, processes)
        found = plan(read, seen, processes, print_report)
        rows = found.rows()
        if estimate:
            rows += needs(read, seen, processes=processes, zero=zero).rows(found.steps)
        for name, value in rows:
            click.echo(f"{name:<24}{value}")

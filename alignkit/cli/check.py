"""`alignkit check RECIPE [key=value ...]`"""

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors


@click.command(name="check")
@_arguments.recipe
@_arguments.overrides
@click.option("--processes", default=1, show_default=True, help="Processes the run will have.")
def command(recipe: str, overrides: tuple[str, ...], processes: int) -> None:
    """Validate RECIPE, report on its data, and print batch sizes, steps and tokens. Nothing is trained."""
    from alignkit.cli._data_report import print_report
    from alignkit.recipe import load
    from alignkit.recipe.plan import plan

    with user_errors():
        for name, value in plan(load(recipe, overrides), processes, print_report).rows():
            click.echo(f"{name:<24}{value}")

"""`alignkit new METHOD [-o FILE]`"""

from pathlib import Path

import click

from alignkit.cli._arguments import complete_method
from alignkit.cli._errors import user_errors


@click.command(name="new")
@click.argument("method", shell_complete=complete_method)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The recipe to write; otherwise it is printed.")
def command(method: str, output: Path | None) -> None:
    """Write a recipe for METHOD to start from, explained line by line.

    It trains a small chat model on public data as it is; put your model and data in their place.
    """
    from alignkit.cli._output import write_recipe
    from alignkit.recipe.starter import starter

    with user_errors():
        write_recipe(starter(method), output)

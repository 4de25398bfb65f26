"""`alignkit data show RECIPE [-n 5] [key=value ...]` and `alignkit data report RECIPE -o FILE.html [key=value ...]`"""

from pathlib import Path

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors


@click.group(name="data")
def command() -> None:
    """Look at what a recipe trains on, as its trainer sees it."""


@command.command(name="show")
@_arguments.recipe
@_arguments.overrides
@click.option("-n", "count", default=5, show_default=True, type=click.IntRange(min=1), help="Examples to show.")
@click.option("--eval", "evaluation", is_flag=True, help="Of the evaluation set.")
def show(recipe: str, overrides: tuple[str, ...], count: int, evaluation: bool) -> None:
    """Show the first examples that RECIPE trains on: templates applied, cut to max_length, trained tokens in colour."""
    from rich.console import Console

    from alignkit.cli._tokens import print_example
    from alignkit.recipe import load
    from alignkit.recipe.preview import preview

    with user_errors():
        examples = preview(load(recipe, overrides)).examples(count, "eval" if evaluation else "train")
    console = Console(highlight=False)
    for example in examples:
        print_example(console, example)
        console.print()


@command.command(name="report")
@_arguments.recipe
@_arguments.overrides
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("data_report.html"))
@click.option("-n", "count", default=5, show_default=True, type=click.IntRange(min=1), help="Examples in the page.")
def report(recipe: str, overrides: tuple[str, ...], output: Path, count: int) -> None:
    """Tokenize all data of RECIPE and write what became of them to --output, one HTML page that needs no other file."""
    from alignkit.data.html_report import page
    from alignkit.recipe import load
    from alignkit.recipe.preview import preview

    with user_errors():
        data = preview(load(recipe, overrides))
        text = page(data.report(whole=True), f"Data of {recipe}", data.examples(count))
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot write {output}: {error.strerror}; name another file with -o") from error
    click.echo(output)

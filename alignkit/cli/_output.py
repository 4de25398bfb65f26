"""Where the commands that make a file put it."""

from pathlib import Path

import click


def write_recipe(text: str, output: Path | None) -> None:
    """Write a recipe to a new file, and say what to do with it; to the standard output where there is none.

    Raises:
        ValueError: the file is there already, or cannot be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{output} exists already; choose another name, or remove it") from None
    except OSError as error:
        raise ValueError(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {output}; next: alignkit check {output}", err=True)

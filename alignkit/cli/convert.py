"""`alignkit convert FILE [-o FILE]`"""

from pathlib import Path

import click

from alignkit.cli._errors import user_errors


@click.command(name="convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The recipe to write; otherwise it is printed.")
@click.option("--script", type=click.Choice(["dpo", "sft", "kto"]), help="The script FILE is for, if it does not say.")
def command(file: Path, output: Path | None, script: str | None) -> None:
    """Turn FILE, YAML of TRL's scripts or of the alignment-handbook, into a recipe.

    The recipe goes to the standard output or to -o; what was not carried over, and why, to the standard error.
    """
    from alignkit.cli._output import write_recipe
    from alignkit.recipe.convert import convert

    with user_errors():
        converted = convert(file, script)
        write_recipe(converted.to_yaml(output.parent if output else "."), output)
    for problem in converted.left:
        click.echo(problem, err=True)
    count = len(converted.left)
    said = f"{count} key{'s' if count != 1 else ''} above" if count else "nothing"
    click.echo(f"not carried over as in {file}: {said}", err=True)

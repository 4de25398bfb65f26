"""`alignkit list`"""

import dataclasses
import inspect

import click

from alignkit.cli._arguments import complete_method


@click.command(name="list")
@click.argument("method", required=False, shell_complete=complete_method)
def command(method: str | None) -> None:
    """Show the methods with formula and source; METHOD shows one in full."""
    from alignkit import objectives
    from alignkit.cli._errors import user_errors

    with user_errors():
        chosen = [method] if method else objectives.names()
        texts = [describe(name, objectives.find(name), full=method is not None) for name in chosen]
    click.echo("\n\n".join(texts))


def describe(name: str, cls: type, full: bool) -> str:
    """A method's docstring under its name and hyperparameters; unless `full`, only the formula and the source."""
    defaults = ", ".join(f"{field.name}={field.default!r}" for field in dataclasses.fields(cls))
    paragraphs = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
    if full:
        body = "\n\n".join(paragraphs)
    else:
        text = paragraphs[-1]
        source = text[text.index("Source:") :].split("\nDiffers")[0] if "Source:" in text else ""
        body = "\n".join([*paragraphs[:1], source]).strip()
    head = click.style(name, bold=True) + f"({defaults})"
    return head + "\n" + "\n".join(f"    {line}".rstrip() for line in body.splitlines())

"""Arguments that several commands share, and what shells complete for them."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from alignkit.cli import _sources


def complete_recipe(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped recipes and YAML files beside them; where none begins so, whatever files there are."""
    names = [*_sources.recipe_names(), *sorted(file.name for file in Path().glob("*.y*ml"))]
    items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return items or [CompletionItem(incomplete, type="file")]


def complete_key(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys of the recipe that the command line names, with the sign that a value follows."""
    method = _sources.method_of(context.params.get("recipe") or "")
    keys = _sources.recipe_keys(method).items()
    return [CompletionItem(f"{key}=", help=text or None) for key, text in keys if key.startswith(incomplete)]


def complete_method(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in _sources.method_names() if name.startswith(incomplete)]


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders; the Hub is not asked."""
    return [CompletionItem(incomplete, type="dir")]


revision_prompt = click.option(
    "--revision-prompt",
    type=click.Path(path_type=Path),
    help="File with {prompt} and {draft}; by default the one saved beside the model.",
)
recipe = click.argument("recipe", shell_complete=complete_recipe)
overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=complete_key)

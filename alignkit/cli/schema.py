"""`alignkit schema`"""

import json

import click


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema of recipes, for completion and checks in an editor.

    Save it, and begin a recipe with: # yaml-language-server: $schema=./recipe.schema.json
    """
    from alignkit.recipe.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))

"""`alignkit merge ADAPTER -o FOLDER`"""

from pathlib import Path

import click

from alignkit.cli._arguments import complete_model
from alignkit.cli._errors import user_errors


@click.command(name="merge")
@click.argument("adapter", shell_complete=complete_model)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="New folder for the model.")
@click.option("--adapter-of", metavar="MODEL", help="The adapter's model, if the one that it names is not here.")
def command(adapter: str, output: Path, adapter_of: str | None) -> None:
    """Make ADAPTER, a folder or Hub id, part of its model, and save that with tokenizer and chat template.

    What is written needs neither alignkit nor peft.
    """
    from alignkit.models.merge import merge

    with user_errors():
        folder = merge(adapter, output, adapter_of)
    click.echo(
        f"model: {folder}\n"
        "load:  from transformers import AutoModelForCausalLM; "
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r})\n"
        f"talk:  alignkit chat {folder}"
    )

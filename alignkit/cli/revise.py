"""`alignkit revise MODEL [PROMPT ...]`"""

import sys
from pathlib import Path
from typing import Any

import click

from alignkit.cli import _arguments, _chatting
from alignkit.cli._errors import user_errors


@click.command(name="revise")
@click.argument("model", shell_complete=_arguments.complete_model)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(0), help="Revisions of the first answer.")
@_arguments.revision_prompt
@click.option("--chat-template", metavar="FILE", help="A Jinja file, for models without a template of their own.")
@click.option("--max-new-tokens", default=256, show_default=True, type=click.IntRange(1), help="Tokens of a draft.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0), help="0 is greedy.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
def command(model: str, prompts: tuple[str, ...], rounds: int, revision_prompt: Path | None, **options: Any) -> None:
    """Let MODEL answer each PROMPT and improve on its answer, and show every draft.

    MODEL is a folder that `alignkit train` wrote with srpo, or any other model with --revision-prompt. Without a
    PROMPT, one is read from the standard input. A revision sees the prompt and the latest draft only.
    """
    from alignkit.generation.revise import drafts

    with user_errors():
        asks = _chatting.revision_prompt(model, revision_prompt)
        sampler = _chatting.chat_sampler(model, **options)
    for text in prompts or (sys.stdin.read().strip(),):
        click.secho(text, bold=True)
        for number, draft in enumerate(drafts(sampler, asks, [{"role": "user", "content": text}], rounds)):
            click.echo(f"  {click.style(f'draft {number}:', dim=True)} {_indented(draft)}")
        click.echo()


def _indented(text: str) -> str:
    return text.strip().replace("\n", "\n    ")

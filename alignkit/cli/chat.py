"""`alignkit chat MODEL`"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from alignkit.cli._arguments import complete_model
from alignkit.cli._errors import user_errors

if TYPE_CHECKING:
    from alignkit.generation import Message, TransformersSampler

HELP = "/reset forgets the conversation, /quit ends it; Ctrl-C stops an answer"


@click.command(name="chat")
@click.argument("model", shell_complete=complete_model)
@click.option("--adapter-of", metavar="MODEL", help="An adapter's model, if the one that it names is not here.")
@click.option("--system", metavar="TEXT", help="A system message before the conversation.")
@click.option("--temperature", default=0.7, show_default=True, type=click.FloatRange(0), help="0 is greedy.")
@click.option("--max-new-tokens", default=512, show_default=True, type=click.IntRange(1), help="Tokens of an answer.")
@click.option("--chat-template", metavar="FILE", help="A Jinja file, for models without a template of their own.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
def command(
    model: str,
    adapter_of: str | None,
    system: str | None,
    temperature: float,
    max_new_tokens: int,
    chat_template: str | None,
    seed: int,
) -> None:
    """Talk with MODEL: a folder of a model or an adapter, a Hub id, package:PACKAGE/FILE.gguf or tiny:ARCHITECTURE.

    In a terminal, /reset forgets the conversation and /quit ends it. Otherwise every line of the standard input is a
    turn of one conversation, and the answers are printed.
    """
    from alignkit.generation import TransformersSampler
    from alignkit.models.inference import load_for_inference

    with user_errors():
        loaded, processor = load_for_inference(model, base=adapter_of, chat_template=chat_template)
        if not processor.chat_template:
            raise ValueError(f"{model} has no chat template, so it is no chat model; write --chat-template FILE")
        tokenizer: Any = getattr(processor, "tokenizer", processor)  # of a model that sees images, too
        tokenizer.chat_template = processor.chat_template
        sampler = TransformersSampler(
            model=loaded, tokenizer=tokenizer, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
        )
        talk(sampler, system)


def talk(sampler: "TransformersSampler", system: str | None = None) -> None:
    """Answer turn after turn until there are no more.

    Raises:
        ValueError: the template takes no system message.
    """
    from jinja2.exceptions import TemplateError

    from alignkit.generation import ConversationTooLong

    start: list[Message] = [{"role": "system", "content": system}] if system else []
    chat, turns = [*start], 0
    for text in _turns():
        if text == "/reset":
            chat = [*start]
        elif text.startswith("/"):
            click.echo(f"{text.split()[0]} is no command: {HELP}", err=True)
        else:
            asked: list[Message] = [*chat, {"role": "user", "content": text}]
            try:
                answer = _answer(replace(sampler, seed=sampler.seed + turns), asked)
            except TemplateError as error:
                raise ValueError(f"the model's chat template refuses this conversation: {error}") from None
            except ConversationTooLong as error:
                click.echo(f"{error}; /reset begins another", err=True)
                continue
            turns += 1
            chat = [*asked, {"role": "assistant", "content": answer}]


def _turns() -> Iterator[str]:
    """What the user says, line by line, until /quit or the end of the input."""
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401 - gives input() history and editing

        click.echo(HELP, err=True)
    while True:
        try:
            text = input("> " if interactive else "").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(nl=interactive)
            return
        if text == "/quit":
            return
        if text:
            yield text


def _answer(sampler: "TransformersSampler", chat: "list[Message]") -> str:
    """Print an answer as it comes. One that is interrupted is part of the conversation as far as it came."""
    from alignkit.data.marked import visible

    pieces: list[str] = []

    def write(piece: str) -> None:
        pieces.append(piece)
        click.echo(visible(piece), nl=False)

    with suppress(KeyboardInterrupt):
        sampler.stream(chat, write)
    click.echo()
    return "".join(pieces)

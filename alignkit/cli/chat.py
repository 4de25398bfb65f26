"""`alignkit chat MODEL`"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignkit.cli import _arguments, _chatting
from alignkit.cli._errors import user_errors

if TYPE_CHECKING:
    from alignkit.generation import Chat, Message, TransformersSampler

HELP = "/reset forgets the conversation, /quit ends it; Ctrl-C stops an answer"


@click.command(name="chat")
@click.argument("model", shell_complete=_arguments.complete_model)
@click.option("--adapter-of", metavar="MODEL", help="An adapter's model, if the one that it names is not here.")
@click.option("--system", metavar="TEXT", help="A system message before the conversation.")
@click.option("--revise", "rounds", default=0, metavar="N", type=click.IntRange(0), help="Improve an answer N times.")
@_arguments.revision_prompt
@click.option("--temperature", default=0.7, show_default=True, type=click.FloatRange(0), help="0 is greedy.")
@click.option("--max-new-tokens", default=512, show_default=True, type=click.IntRange(1), help="Tokens of an answer.")
@click.option("--chat-template", metavar="FILE", help="A Jinja file, for models without a template of their own.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
def command(
    model: str, adapter_of: str | None, system: str | None, rounds: int, revision_prompt: Path | None, **options: Any
) -> None:
    """Talk with MODEL: a folder of a model or an adapter, a Hub id, package:PACKAGE/FILE.gguf or tiny:ARCHITECTURE.

    In a terminal, /reset forgets the conversation and /quit ends it. Otherwise every line of the standard input is a
    turn of one conversation, and the answers are printed.

    With --revise each draft is shown, and the conversation goes on from the last one. MODEL was trained with srpo then,
    or --revision-prompt says how it is asked.
    """
    with user_errors():
        if revision_prompt is not None and not rounds:
            raise ValueError("--revision-prompt has no effect without --revise; write --revise N or leave it out")
        revise = _chatting.revision_prompt(model, revision_prompt) if rounds else None
        talk(_chatting.chat_sampler(model, base=adapter_of, **options), system, revise, rounds)


def talk(sampler: "TransformersSampler", system: str | None = None, revise: Any = None, rounds: int = 0) -> None:
    """Answer turn after turn until there are no more, each answer revised so many rounds with the prompt `revise`.

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
                answer = _answer(replace(sampler, seed=sampler.seed + turns), asked, revise, rounds)
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


def _answer(sampler: "TransformersSampler", chat: "Chat", revise: Any, rounds: int) -> str:
    """Print an answer as it comes, then its revisions; the last is the answer.

    One that is interrupted is the last, and part of the conversation as far as it came.
    """
    from alignkit.data.marked import visible
    from alignkit.generation.revise import drafts

    drafted: list[str] = []

    def write(piece: str) -> None:
        drafted[-1] += piece
        click.echo(visible(piece), nl=False)

    def stream(chats: "Sequence[Chat]", n: int = 1) -> list[list[str]]:
        if rounds:
            click.secho(f"draft {len(drafted)}: ", dim=True, nl=False)
        drafted.append("")
        text = sampler.stream(chats[0], write)
        click.echo()
        return [[text]]

    try:
        for _ in drafts(stream, revise, chat, rounds):
            pass
    except KeyboardInterrupt:
        click.echo()
    return drafted[-1]

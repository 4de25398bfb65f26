"""`alignkit demo [--record FILE.svg] [key=value ...]`"""

from pathlib import Path
from typing import Any

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors

RECIPE = "demo/smollm2"


@click.command(name="demo")
@_arguments.overrides
@click.option(
    "--record", type=click.Path(path_type=Path, dir_okay=False), help="Draw the terminal to this SVG as well."
)
def command(overrides: tuple[str, ...], record: Path | None) -> None:
    """Train a small chat model on a hundred preference pairs and show what changed.

    Minutes on two cores, no GPU, no download from a hub. KEY=VALUE as for `alignkit train`.
    """
    from alignkit.cli import _recording
    from alignkit.cli._progress import use_table
    from alignkit.recipe import load
    from alignkit.studies import demo

    with user_errors():
        _recording.check(record)
        recipe = load(RECIPE, overrides)
    console = _recording.console(record)
    if record is not None:
        console.print(f"$ {' '.join(('alignkit demo', *overrides))}", markup=False)
    outcome = demo.run(recipe, prepare=lambda trainer: use_table(trainer, console))
    for text in texts(outcome):
        console.print(text, soft_wrap=record is None)
    if record is not None:
        _recording.save(console, record, "alignkit demo")
        click.echo(f"terminal: {record}")


def texts(outcome: Any) -> list[Any]:
    """What is printed once the demo has run: prompts with the answers before and after, then the figures."""
    from rich.text import Text

    parts = []
    for prompt, before, after in zip(outcome.prompts, outcome.before.answers, outcome.after.answers, strict=True):
        answers = f"\n  before: {_one_line(before)}\n  after:  {_one_line(after)}"
        parts.append(Text("\n").append(_one_line(prompt), style="bold").append(answers))
    return [*parts, Text(summary(outcome))]


def summary(outcome: Any) -> str:
    """The demo's figures, before and after."""
    rows = [
        (f"chosen answer likelier per token, {outcome.pairs} held-out pairs", "accuracy", "{:.0%}"),
        ("answers that give an example", "examples", "{:.0%}"),
        ("words per answer", "words", "{:.0f}"),
    ]
    lines = [f"{'':54}before   after"]
    for label, field, form in rows:
        before, after = (form.format(getattr(moment, field)) for moment in (outcome.before, outcome.after))
        lines.append(f"{label:54}{before:>6}  {after:>6}")
    lines.append(f"{'chosen answer gained more than the rejected one':54}{'':>6}  {outcome.reward_accuracy:>6.0%}")
    files = f"curves: {outcome.curves}\npage:   {outcome.page}\nmodel:  {outcome.model}"
    return "\n" + "\n".join(lines) + "\n\n" + files


def _one_line(text: str) -> str:
    from alignkit.data.marked import visible

    return visible(" ".join(text.split()))

"""`alignkit demo [key=value ...]`"""

import click

from alignkit.cli._errors import user_errors

RECIPE = "demo/smollm2"


@click.command(name="demo")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def command(overrides: tuple[str, ...]) -> None:
    """Train a small chat model on a hundred preference pairs and show what changed.

    Minutes on two cores, no GPU, no download from a hub. KEY=VALUE as for `alignkit train`.
    """
    from alignkit.cli._progress import use_table
    from alignkit.recipe import load
    from alignkit.studies import demo

    with user_errors():
        recipe = load(RECIPE, overrides)
    outcome = demo.run(recipe, prepare=use_table)
    for prompt, before, after in zip(outcome.prompts, outcome.before.answers, outcome.after.answers, strict=True):
        click.echo(f"\n{click.style(prompt, bold=True)}\n  before: {_one_line(before)}\n  after:  {_one_line(after)}")
    click.echo(summary(outcome))


def summary(outcome) -> str:
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
    return "\n" + "\n".join(lines) + f"\n\ncurves: {outcome.curves}\nmodel:  {outcome.model}"


def _one_line(text: str) -> str:
    return " ".join(text.split())

"""`alignkit sample RECIPE [KEY=VALUE ...]`"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors

if TYPE_CHECKING:
    from alignkit.recipe.sample_sets import Outcome


@click.command(name="sample")
@_arguments.recipe
@_arguments.overrides
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="By default runs/sample-RECIPE.")
def command(recipe: str, overrides: tuple[str, ...], output: Path | None) -> None:
    """Draw answers to RECIPE's prompts from its model, score them by its reward, and keep the best.

    Writes samples.jsonl as it goes, and goes on where it was stopped; then best.jsonl, to train on by supervision,
    pairs.jsonl, best against worst with their scores, and the value of the best of every n in best_of_n.json and .png.
    What is drawn and what is kept is in the recipe's section sample.
    """
    from alignkit.recipe import load
    from alignkit.recipe.sampling import sample

    with user_errors():
        read = load(recipe, overrides, uses=["reward"])
        stem = read.path.stem if read.path else "recipe"
        folder = output or Path("runs") / f"sample-{stem}"
        found = sample(read, folder, lambda done, of: click.echo(f"{done:,} of {of:,} prompts", err=True))
    for line in _lines(found):
        click.echo(line)


def _lines(found: "Outcome") -> list[str]:
    """What was drawn, what was kept and why not more, and what the best of n is worth."""
    counts = found.counts
    flaws = f"{counts.truncated:,} truncated, {counts.empty:,} empty"
    said = [
        f"{counts.prompts:,} prompts, {counts.answers:,} answers: {flaws}",
        f"{found.folder / 'best.jsonl'}: {counts.best:,} answers",
        f"{found.folder / 'pairs.jsonl'}: {counts.pairs:,} pairs",
    ]
    if counts.unusable:
        said.append(f"{counts.unusable:,} prompts have no answer to train on: all are empty or truncated")
    if counts.below:
        said.append(f"{counts.below:,} prompts have no answer of min_score")
    if counts.single:
        said.append(f"{counts.single:,} prompts give no pair: they have one answer to train on")
    if counts.tied:
        said.append(f"{counts.tied:,} prompts give no pair: all their answers have one reward")
    said += [f"{name} scored no answers to {count:,} prompts" for name, count in counts.dropped.items()]
    said.append("best of n by the reward, over all answers; KL at most:")
    last = len(found.curve)
    for point in (point for point in found.curve if point.n == last or not point.n & (point.n - 1)):  # powers of two
        error = "" if point.error is None else f" ± {point.error:.3f}"
        said.append(f"  n {point.n:>4}   {point.reward:.3f}{error}   {point.kl:.2f} nats")
    return said

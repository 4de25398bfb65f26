"""`alignkit reward score MODEL DATA`"""

from pathlib import Path
from typing import Any

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors


@click.group(name="reward")
def command() -> None:
    """Use reward models."""


@command.command(name="score")
@click.argument("model", shell_complete=_arguments.complete_model)
@click.argument("data")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="By default NAME.scored.jsonl.")
@click.option("--name", default="score", show_default=True, help="Of the columns that are written.")
@click.option("--split", default="train", show_default=True, help="Of a dataset that has several.")
@click.option("--limit", type=click.IntRange(1), help="Only so many rows from the start.")
@click.option("--max-length", type=click.IntRange(1), help="Tokens of prompt and answer; the end is kept.")
@click.option("--batch-tokens", default=16384, show_default=True, type=click.IntRange(1), help="Tokens read at once.")
@click.option("--precision", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
def score(model: str, data: str, output: Path | None, **options: Any) -> None:
    """Write the rows of DATA with the scores that the reward model MODEL gives their answers.

    Pairs get score_chosen and score_rejected, as mmpo and mmpo_reward read them; rankings get scores; single answers
    get score. A run that is stopped goes on where it was.
    """
    from alignkit.data.spec import Source
    from alignkit.models.spec import ModelSpec
    from alignkit.recipe.reward_scores import Scoring
    from alignkit.recipe.scoring import version_of
    from alignkit.rewards.model import ModelReward

    target = output or Path(f"{Path(data).stem}.scored.jsonl")
    with user_errors():
        spec = ModelSpec(path=model, precision=options["precision"])
        reward = ModelReward.load(spec, max_length=options["max_length"], batch_tokens=options["batch_tokens"])
        source = Source(source=data, split=options["split"], limit=options["limit"])
        scoring = Scoring(
            reward=reward, version=str(version_of(spec)), source=source, output=target, name=options["name"]
        )
        found = scoring(lambda rows: click.echo(f"{rows:,} rows", err=True))
    click.echo(f"wrote {target}: {found.rows:,} rows, {found.answers:,} answers")
    if found.truncated:
        click.echo(f"{found.truncated:,} answers are too long for the model; the start of their text was not read")

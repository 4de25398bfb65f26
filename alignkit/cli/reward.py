"""`alignkit reward score MODEL DATA`, `reward bench MODEL --data DATA` and `reward calibrate RECIPE`"""

import json
from dataclasses import asdict
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


@command.command(name="bench")
@click.argument("model", shell_complete=_arguments.complete_model)
@click.option("--data", required=True, help="A file, a folder or a Hub id with RewardBench's rows, version 1 or 2.")
@click.option("--split", help="Of a dataset that has several; by default the one that the board uses.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="JSON file for the results.")
@click.option("--limit", type=click.IntRange(1), help="Only so many rows from the start.")
@click.option("--max-length", type=click.IntRange(1), help="Tokens of prompt and answer; the end is kept.")
@click.option("--batch-tokens", default=16384, show_default=True, type=click.IntRange(1), help="Tokens read at once.")
@click.option("--precision", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
def bench(model: str, data: str, split: str | None, output: Path | None, **options: Any) -> None:
    """Evaluate the reward model MODEL on RewardBench: accuracy by subset, and the board's sections and average."""
    from alignkit.data.spec import Source
    from alignkit.models.spec import ModelSpec
    from alignkit.recipe.reward_bench import run_bench
    from alignkit.rewards.model import ModelReward

    known = {"allenai/reward-bench": "filtered", "allenai/reward-bench-2": "test"}
    default = "train" if Path(data).exists() else known.get(data, "test")
    with user_errors():
        spec = ModelSpec(path=model, precision=options["precision"])
        source = Source(source=data, split=split or default, limit=options["limit"])
        reward = ModelReward.load(spec, max_length=options["max_length"], batch_tokens=options["batch_tokens"])
        found = run_bench(reward, source, lambda done, rows: click.echo(f"{done:,} of {rows:,} rows", err=True))
    click.echo(f"RewardBench {found.version}")
    for name, score in found.subsets.items():
        click.echo(f"  {name:24} {score:7.4f}  ({found.examples[name]:,} examples)")
    for name, score in found.sections.items():
        click.echo(f"{name:26} {score:7.4f}")
    if found.average is not None:
        click.echo(f"{'average':26} {found.average:7.4f}")
    if found.truncated:
        click.echo(f"{found.truncated:,} answers are too long for the model; the start of their text was not read")
    if output is not None:
        output.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
        click.echo(f"wrote {output}")


@command.command(name="calibrate")
@_arguments.recipe
@_arguments.overrides
def calibrate(recipe: str, overrides: tuple[str, ...]) -> None:
    """Fix the scale of each member of RECIPE's reward, for normalise: zscore, on the answers of its data.eval.

    It is saved with reward models that are local folders. Of others it is printed, to be written into the recipe.
    """
    from alignkit.recipe import calibrate as calibration
    from alignkit.recipe import load

    with user_errors():
        for found in calibration.calibrate(load(recipe, overrides, uses=["reward"])):
            one = found.calibration
            text = f"{{mean: {one.mean:.6g}, std: {one.std:.6g}, count: {one.count}}}"
            where = f"saved in {found.folder}" if found.folder else "write it beside the member"
            click.echo(f"{found.name}: calibration: {text}, {where}")

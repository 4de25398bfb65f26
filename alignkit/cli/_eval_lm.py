"""`alignkit eval lm MODEL --tasks TASKS`"""

import json
from pathlib import Path
from typing import Any

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors


@click.command(name="lm")
@click.argument("model", shell_complete=_arguments.complete_model)
@click.option("--tasks", required=True, metavar="A,B", help="Tasks, groups or tags of lm-evaluation-harness.")
@click.option("--include", type=click.Path(path_type=Path), metavar="FOLDER", help="Tasks of your own, in its YAML.")
@click.option("--few-shot", type=click.IntRange(0), help="Examples before each question; by default the task's.")
@click.option("--limit", type=click.IntRange(1), help="Only so many examples of each task.")
@click.option("--chat", is_flag=True, help="Put every question into the model's chat template.")
@click.option("--batch-size", default=8, show_default=True, type=click.IntRange(1))
@click.option("--precision", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option("--adapter-of", metavar="MODEL", help="An adapter's model, if the one that it names is not here.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default="evaluation", show_default=True
)
def lm(
    model: str, tasks: str, include: Path | None, output: Path, precision: Any, adapter_of: str | None, **options: Any
) -> None:
    """Run tasks of lm-evaluation-harness on MODEL, [NAME=]MODEL on this machine.

    The harness's whole report is written to OUTPUT/lm_eval/NAME.json. It needs `pip install alignkit[lm-eval]`.
    """
    from alignkit.cli._evaluating import split_name
    from alignkit.data.marked import visible
    from alignkit.evaluation.harness import HEADS, Harness, scores
    from alignkit.evaluation.markdown import table
    from alignkit.models.inference import load_for_inference

    with user_errors():
        name, path, url = split_name(model)
        if url is not None:
            raise ValueError(f"{model} is at an endpoint; the tasks need a model on this machine")
        harness = Harness(tasks=[one.strip() for one in tasks.split(",")], folder=include, **options)
        loaded, processor = load_for_inference(path, base=adapter_of, precision=precision)
        report = harness.run(loaded, getattr(processor, "tokenizer", processor))
    file = output / "lm_eval" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    click.echo(visible(table(HEADS, [one.row() for one in scores(report)])))
    click.echo(f"report: {file}")

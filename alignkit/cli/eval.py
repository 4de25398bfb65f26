"""`alignkit eval mt-bench MODEL... --judge JUDGE`, `eval compare A B`, `eval show`"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors
from alignkit.cli._eval_lm import lm

if TYPE_CHECKING:
    from alignkit.cli._evaluating import Asking
    from alignkit.evaluation import Evaluation
    from alignkit.evaluation.judges import Budget

INCOMPLETE = 5  # exit code: something is not graded
ASSUMED = 1200  # characters of an answer that is still to come, about 300 tokens
ASKING = (  # options that say how models and judges are asked
    *("key_variable", "concurrency", "requests_per_minute", "timeout", "tries", "choices", "max_new_tokens"),
    *("max_judgment_tokens", "batch_size", "engine", "precision", "chat_template", "adapter_of"),
)
SHOWN = 5  # problems that are printed; the others are counted


@click.group(name="eval")
def command() -> None:
    """Find out whether a model got better."""


command.add_command(lm)


@command.command(name="mt-bench")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=_arguments.complete_model)
@click.option("--judge", "judges", multiple=True, required=True, metavar="JUDGE", help="MODEL@URL, or a local model.")
@click.option("--questions", default="starter", show_default=True, help="A folder of FastChat's, a file, or a Hub id.")
@click.option("--references", metavar="NAME", help="Reference answers: a file, or one in reference_answer/.")
@click.option("--prompts", metavar="FILE", help="FastChat's judge_prompts.jsonl, or one like it.")
@click.option(
    "--judge-format",
    type=click.Choice(["text", "json", "value"]),
    default="text",
    show_default=True,
    help="json: an endpoint holds the judge to an object of explanation and rating; value: of the rating alone.",
)
@click.option("--limit", type=click.IntRange(1), help="Only so many questions of each category.")
@click.option(
    "--mode",
    type=click.Choice(["single", "pairwise-baseline", "pairwise-all"]),
    default="single",
    show_default=True,
    help="Rate every answer, or compare answers in both orders.",
)
@click.option("--baseline", metavar="NAME", help="The model that the others are compared with.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default="evaluation", show_default=True
)
@click.option("--choices", default=1, show_default=True, type=click.IntRange(1), help="Answers to each question.")
@click.option("--max-new-tokens", default=1024, show_default=True, type=click.IntRange(1), help="Of an answer.")
@click.option("--max-judgment-tokens", default=2048, show_default=True, type=click.IntRange(1), help="Of a judge.")
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(1), help="Answers at once, locally.")
@click.option(
    "--engine",
    type=click.Choice(["transformers", "vllm"]),
    default="transformers",
    show_default=True,
    help="What generates on this machine; vllm has to be installed.",
)
@click.option("--precision", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
@click.option("--chat-template", metavar="FILE", help="A Jinja file, for models without a template of their own.")
@click.option("--adapter-of", metavar="MODEL", help="An adapter's model, if the one that it names is not here.")
@click.option("--key-variable", metavar="NAME", help="Environment variable that holds the endpoints' key.")
@click.option("--concurrency", default=8, show_default=True, type=click.IntRange(1), help="Requests at a time.")
@click.option("--requests-per-minute", type=click.FloatRange(0, min_open=True))
@click.option("--timeout", default=120.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Seconds.")
@click.option("--tries", default=6, show_default=True, type=click.IntRange(1), help="Of each request.")
@click.option("--input-price", default=0.0, type=click.FloatRange(0), help="Of the judge, per million tokens.")
@click.option("--output-price", default=0.0, type=click.FloatRange(0), help="Of the judge, per million tokens.")
@click.option("--max-cost", type=click.FloatRange(0), help="Ask the judge nothing that could exceed it.")
@click.option("--dry-run", is_flag=True, help="Say what the judge would be asked and what it costs, and ask nothing.")
@click.option("--allow-missing", default=0.0, type=click.FloatRange(0, 1), help="Share that may lack a judgment.")
@click.option("--alpaca-eval", is_flag=True, help="Write the first turns as AlpacaEval's model_outputs, too.")
def mt_bench(
    models: tuple[str, ...],
    judges: tuple[str, ...],
    output: Path,
    dry_run: bool,
    allow_missing: float,
    alpaca_eval: bool,
    **options: Any,
) -> None:
    """Let MODELs answer questions of two turns, and judges rate the answers, as FastChat's llm_judge does.

    MODEL and JUDGE are [NAME=]MODEL for one on this machine, or [NAME=]MODEL@URL for one at an OpenAI-compatible
    endpoint; @openai is OpenAI's. A run that is stopped goes on where it was, and nothing is asked twice.
    """
    from alignkit.cli._evaluating import Asking
    from alignkit.evaluation.judges import Budget
    from alignkit.remote import Cache

    with user_errors():
        budget = Budget(options["input_price"], options["output_price"], options["max_cost"])
        if budget.limit is not None and not budget.input_price and not budget.output_price:
            raise ValueError("--max-cost needs --input-price and --output-price, per million tokens")
        asking = Asking(cache=Cache(output / "cache"), **{name: options[name] for name in ASKING})
        try:
            evaluation = _evaluation(models, judges, output, options, asking, budget)
            if dry_run:
                _estimate(evaluation, budget)
                return
            missing = _run(evaluation, budget)
        finally:
            asking.close()
    if alpaca_eval:
        _write_alpaca_eval(evaluation)
    sys.exit(INCOMPLETE if missing > allow_missing else 0)


@command.command(name="compare")
@click.argument("a")
@click.argument("b")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default="evaluation", show_default=True
)
def compare(a: str, b: str, output: Path) -> None:
    """Say whether model B is better than model A, and how sure that is.

    A and B are models that `alignkit eval mt-bench` has judged in the folder --output: paired, question by question.
    """
    from alignkit.cli._evaluating import split_name
    from alignkit.evaluation import EvaluationError, Folder
    from alignkit.evaluation.markdown import pair_sentence, sentence
    from alignkit.evaluation.records import read_records
    from alignkit.evaluation.report import compare as compared
    from alignkit.evaluation.report import make_report

    with user_errors():
        records = read_records(Folder(output))
        pair = (split_name(a)[0], split_name(b)[0])
        ratings = [(judge, found) for judge in records.scores if (found := compared(records, judge, *pair))]
        played = [
            (judge.judge, one)
            for judge in make_report(records).judges
            for one in judge.pairs
            if {*one.models} == {*pair} and one.win_rate
        ]
        if not ratings and not played:
            names = ", ".join(records.answers) or "none"
            raise EvaluationError(f"nobody judged both {pair[0]} and {pair[1]} in {output}; models there: {names}")
    for judge, found in ratings:
        click.echo(_visible(f"{judge}: {sentence(found)}"))
    for judge, one in played:
        click.echo(_visible(f"{judge}: {pair_sentence(one)}"))


@command.command(name="show")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
def show(folders: tuple[Path, ...]) -> None:
    """Write the reports of evaluations anew, and print a leaderboard over all of them.

    FOLDERs are those of `alignkit eval mt-bench`, by default evaluation/. A table holds what one judge said of answers
    to one set of questions.
    """
    from alignkit.evaluation import Folder, write_report
    from alignkit.evaluation.answers import digest
    from alignkit.evaluation.markdown import MODEL_HEADS, model_row, table

    boards: dict[tuple[str, str], list[tuple[float, list[str]]]] = {}
    with user_errors():
        for folder in folders or (Path("evaluation"),):
            report, records = write_report(Folder(folder), folder.name)
            asked = digest([[one.id, *one.turns] for one in records.questions.values()])
            for judge in report.judges:
                for one in judge.models:
                    mean = one.overall.mean if one.overall else 0.0
                    board = boards.setdefault((asked, judge.judge), [])
                    board.append((mean, [*model_row(one, judge.judge), str(folder)]))
    for rows in boards.values():
        click.echo(_visible(table((*MODEL_HEADS, "folder"), [row for _, row in sorted(rows, reverse=True)])))


def _evaluation(
    models: tuple[str, ...], judges: tuple[str, ...], output: Path, options: Any, asking: "Asking", budget: "Budget"
) -> "Evaluation":
    from alignkit.evaluation import Evaluation, Folder, load_prompts, load_questions
    from alignkit.evaluation.forms import FORMS

    questions = load_questions(options["questions"], references=options["references"], limit=options["limit"])
    form, mode = FORMS[options["judge_format"]], options["mode"]
    asked = form.parameters("single" if mode == "single" else "pairwise")
    evaluation = Evaluation(
        folder=Folder(output),
        questions=questions,
        models=asking.answerers(models, questions),
        judges=[asking.judge(text, budget, asked) for text in judges],
        prompts=load_prompts(options["prompts"], form),
        mode=mode,
        baseline=options["baseline"],
    )
    for warning in evaluation.warnings:
        click.echo(f"warning: {warning}", err=True)
    return evaluation


def _run(evaluation: "Evaluation", budget: "Budget") -> float:
    """Answer, judge and report; the share of judgments that are missing."""
    from alignkit.cli._evaluating import Lines
    from alignkit.evaluation import write_report
    from alignkit.evaluation.markdown import headline
    from alignkit.remote import Refused

    progress = Lines()
    try:
        problems = evaluation.answer(progress)
        problems += evaluation.judge(progress)
    except Refused as refused:
        problems = [f"stopped: {refused}"]
    for problem in problems[:SHOWN]:
        click.echo(_visible(problem), err=True)
    if len(problems) > SHOWN:
        click.echo(f"and {len(problems) - SHOWN} more like these", err=True)
    report, records = write_report(evaluation.folder, evaluation.questions.name, evaluation.warnings)
    click.echo(_visible(headline(report)))
    for loud in report.warnings:
        click.echo(f"warning: {_visible(loud)}", err=True)
    if budget.input_tokens:
        paid = f", {budget.spent:.2f} paid" if budget.spent else ""
        click.echo(f"the judge read {budget.input_tokens:,} tokens and wrote {budget.output_tokens:,}{paid}")
    lost, total = evaluation.missing(records)
    if lost:
        click.echo(f"incomplete: {lost} of {total} judgments are missing", err=True)
    click.echo(f"report: {evaluation.folder.path / 'report.html'}")
    return lost / total


def _write_alpaca_eval(evaluation: "Evaluation") -> None:
    from alignkit.evaluation.answers import alpaca_eval_rows, load_answers

    for name in evaluation.models:
        rows = alpaca_eval_rows(name, evaluation.questions.questions, load_answers(evaluation.folder, name))
        file = evaluation.folder.path / "alpaca_eval" / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        click.echo(f"wrote {file}")


def _estimate(evaluation: "Evaluation", budget: "Budget") -> None:
    """What is still to be asked of models and judges."""
    from alignkit.evaluation.judging import estimate

    for name in evaluation.models:
        count = len(evaluation.unanswered(name))
        click.echo(f"{name}: {count} of {len(evaluation.questions.questions)} questions to answer")
    for judging, wanted in evaluation.judgings(assumed=" " * ASSUMED):
        found = estimate(judging, wanted)
        click.echo(
            f"{judging.judge.name}: {found.requests} requests of about {found.input_tokens:,} tokens in and "
            f"{found.output_tokens:,} out; {found.kept} are in the cache"
        )
        cost = budget.cost(found.input_tokens, found.output_tokens)
        if cost:
            click.echo(f"about {cost:.2f} at these prices")


def _visible(text: str) -> str:
    from alignkit.data.marked import visible

    return visible(text)

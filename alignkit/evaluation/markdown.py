"""A report for the terminal and for Markdown files."""

from collections.abc import Iterable, Sequence

from alignkit.evaluation.report import Comparison, JudgeReport, ModelScores, PairResult, Report
from alignkit.evaluation.statistics import Interval

MODEL_HEADS = ("model", "mean", "95 % interval", "turn 1", "turn 2", "words", "not graded", "judge")
PAIR_HEADS = (
    *("model", "against", "wins", "ties", "losses", "win rate", "95 % interval", "at equal length"),
    *("same verdict in both orders", "not graded"),
)
AGREEMENT_HEADS = ("judge", "judge", "mode", "both graded", "same", "kappa", "correlation")


def markdown(report: Report) -> str:
    """Everything in a report, as Markdown tables."""
    parts = [f"# {report.title}: {report.questions} questions", *(f"> **{one}**" for one in report.warnings)]
    for judge in report.judges:
        parts += _judge(judge)
    if report.agreement:
        rows = [
            [*one.judges, one.mode, str(one.matches), f"{one.same:.0%}", _maybe(one.kappa), _maybe(one.correlation)]
            for one in report.agreement
        ]
        parts += ["## Agreement between judges", table(AGREEMENT_HEADS, rows)]
    return "\n\n".join(parts) + "\n"


def headline(report: Report) -> str:
    """One line a model: mean, interval, turns, and what is missing."""
    rows = [model_row(one, judge.judge) for judge in report.judges for one in judge.models]
    return table(MODEL_HEADS, rows) if rows else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that is aligned for reading as it is."""
    body = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *body]) for i in range(len(heads))]
    lines = [heads, ["-" * width for width in widths], *body]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in lines
    )


def _judge(report: JudgeReport) -> list[str]:
    parts = [f"## Judged by {report.judge}"]
    if report.models:
        parts.append(table(MODEL_HEADS, [model_row(one, report.judge) for one in report.models]))
        parts += ["### By category", table(*category_rows(report.models))]
        parts += [line for one in report.models for line in remarks(one)]
    if report.comparisons:
        parts += ["### Compared, question by question", *(sentence(one) for one in report.comparisons)]
    if report.pairs:
        parts += ["### Pairs", table(PAIR_HEADS, [pair_row(one) for one in report.pairs])]
    return parts


def model_row(one: ModelScores, judge: str) -> list[str]:
    turns = [f"{one.turns[turn].mean:.2f}" if turn in one.turns else "" for turn in (1, 2)]
    lost = one.ungraded + one.missing
    total = one.graded + lost
    mean = f"{one.overall.mean:.2f}" if one.overall else "none"
    return [one.model, mean, _range(one.overall), *turns, f"{one.words:.0f}", f"{lost} of {total}", judge]


def category_rows(models: Sequence[ModelScores]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of means with their intervals, a column for each model."""
    names = dict.fromkeys(name for one in models for name in one.categories)
    found = [[one.categories.get(name) for one in models] for name in names]
    rows = [
        [name, *(f"{one.mean:.2f} {_range(one)}" if one else "" for one in cells)]
        for name, cells in zip(names, found, strict=True)
    ]
    return ["category", *(one.model for one in models)], rows


def remarks(one: ModelScores) -> Iterable[str]:
    if one.noted:
        yield f"{one.model}: FastChat would read {one.noted} of the replies otherwise; each says so in its row."
    if one.length_correlation is not None:
        yield f"{one.model}: correlation of length and score {one.length_correlation:+.2f}."


def sentence(one: Comparison) -> str:
    """Whether B is better than A, and how sure that is."""
    a, b = one.models
    found = one.scores
    seen = {
        "better": f"{b} is better than {a}",
        "worse": f"{b} is worse than {a}",
        "unclear": f"whether {b} is better than {a} cannot be told",
    }[found.verdict]
    return (
        f"{seen}: {found.difference:+.2f}, 95 % interval [{found.low:+.2f}, {found.high:+.2f}], p = {found.p:.3f}, "
        f"on {found.values} answers to {found.questions} questions. The higher rating is {b}'s in {one.win_rate:.0%} "
        f"of them, ties counted half; {one.length_controlled:.0%} at equal length."
    )


def pair_sentence(one: PairResult) -> str:
    """Who wins of two models, and how sure that is."""
    if one.win_rate is None:
        return f"no match of {one.models[0]} and {one.models[1]} is graded"
    low, high = one.win_rate.low, one.win_rate.high
    a, b = one.models
    seen = f"{a} beats {b}" if low > 0.5 else f"{b} beats {a}" if high < 0.5 else f"{a} and {b} cannot be told apart"
    return (
        f"{seen}: {a} wins {one.win_rate.mean:.1%}, ties counted half, 95 % interval [{low:.1%}, {high:.1%}], "
        f"of {one.win_rate.values} matches on {one.win_rate.questions} questions"
    )


def pair_row(one: PairResult) -> list[str]:
    return [
        *one.models,
        *(str(count) for count in (one.wins, one.ties, one.losses)),
        f"{one.win_rate.mean:.1%}" if one.win_rate else "none",
        f"[{one.win_rate.low:.1%}, {one.win_rate.high:.1%}]" if one.win_rate else "",
        "" if one.length_controlled is None else f"{one.length_controlled:.1%}",
        "" if one.consistency is None else f"{one.consistency:.0%}",
        str(one.ungraded + one.missing),
    ]


def _range(one: Interval | None) -> str:
    return f"[{one.low:.2f}, {one.high:.2f}]" if one else ""


def _maybe(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

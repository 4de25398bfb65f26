"""The data report as one HTML page that needs nothing else: no network, no script, no picture files.

`STYLE` and `section` are for pages that hold the report among other things.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from alignkit.data.account import DataReport
from alignkit.data.load import SourceReport
from alignkit.data.marked import Marked, MarkedSequence, Span
from alignkit.data.report import Histogram, Inspected
from alignkit.pages import document

# Counts of Inspected that say what is wrong with examples, and what they are called.
PROBLEMS = {
    "truncated": "cut by max_length",
    "dropped": "nothing left to train on",
    "lost_end": "no end token",
    "changed_prompt": "prompt is no prefix of the whole",
    "marked": "special tokens in a message",
}
STYLE = """
.data-report { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; }
.data-report table { border-collapse: collapse; margin: 1em 0; }
.data-report th, .data-report td { text-align: right; padding: .3em .7em; border-bottom: 1px solid #d8dee4; }
.data-report th { font-weight: 600; vertical-align: bottom; max-width: 9em; }
.data-report th:first-child, .data-report td:first-child { text-align: left; }
.data-report .wrong { background: #fff1d6; }
.data-report pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .8em 1em; }
.data-report pre { background: #f6f8fa; color: #57606a; }
.data-report mark { background: #c9f0d1; color: #0b3d1a; }
.data-report b { font-weight: 600; color: #8250df; }
.data-report mark b { color: #0550ae; }
.data-report svg { max-width: 100%; }
"""
WIDTH, HEIGHT, FOOT = 640, 120, 18  # of a histogram and the line of numbers under it, in pixels


def page(report: DataReport, title: str, examples: Sequence[Marked] = ()) -> str:
    """The whole page."""
    style = f"body {{ max-width: 75em; margin: 2em auto; padding: 0 1em; }}{STYLE}"
    return document(title, style, f"<h1>{escape(title)}</h1>\n{section(report, examples)}")


def section(report: DataReport, examples: Sequence[Marked] = ()) -> str:
    """The report without the page around it; its own first example where none are given."""
    parts = [rows_table(report), examples_table(report), histograms(report)]
    shown = [example_block(example) for example in examples or [report.example]]
    legend = "<p>What is trained on is <mark>green</mark>; <b>special tokens</b> stand out.</p>"
    return "\n".join(['<div class="data-report">', *parts, "<h2>Examples</h2>", legend, *shown, "</div>"])


def rows_table(report: DataReport) -> str:
    head = ("source", "use", "format", "rows", "kept", "dropped", "held out", "examples")
    return table("Rows", head, [row_cells(rows) for rows in report.rows])


def row_cells(rows: SourceReport) -> list[str]:
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in rows.dropped.items())
    dropped = f"{sum(rows.dropped.values()):,} ({reasons})" if rows.dropped else number(rows.read and 0)
    cells = [rows.source, rows.use, rows.kind, number(rows.read), number(rows.kept), dropped]
    texts = [*cells, number(rows.held_out), number(rows.used)]
    return [cell(text, wrong=text == dropped and bool(rows.dropped)) for text in texts]


def examples_table(report: DataReport) -> str:
    limit = report.treatment.max_length
    head = ("source", "use", "examples", "tokenized", *PROBLEMS.values(), "median tokens", "90 %", "99 %", "longest")
    rows = [
        example_cells(use, source, found, report) for use, source, _, found in report.sources() if found is not None
    ]
    return table("Tokens" + (f" (max_length {limit:,})" if limit else " (no max_length)"), head, rows)


def example_cells(use: str, source: str, found: Inspected, report: DataReport) -> list[str]:
    part = report.set_of(use)
    of = part.examples[source] if part and part.examples else None
    counts = {name: getattr(found, name) for name in PROBLEMS}
    shares = [f"{count:,} ({count / found.examples:.1%})" if count else "0" for count in counts.values()]
    return [
        *map(cell, (source, use, number(of), number(found.examples))),
        *(cell(text, wrong=bool(count)) for text, count in zip(shares, counts.values(), strict=True)),
        *(cell(f"{length:,}") for length in found.lengths.values()),
    ]


def histograms(report: DataReport) -> str:
    limit = report.treatment.max_length
    drawn = [
        f"<figure><figcaption>{escape(source)} ({use}): tokens of a sequence</figcaption>{svg(bars, limit)}</figure>"
        for use, source, _, found in report.sources()
        if found is not None and (bars := found.histogram) is not None
    ]
    return "\n".join(["<h2>Lengths</h2>", *drawn])


def svg(histogram: Histogram, limit: int | None) -> str:
    """Bars of a histogram, with a line at `limit` where it lies among them."""
    end = histogram.width * len(histogram.counts)
    step, most = WIDTH / len(histogram.counts), max(histogram.counts)
    bars = []
    for place, count in enumerate(histogram.counts):
        height = HEIGHT * count / most
        first, last = place * histogram.width + 1, (place + 1) * histogram.width
        label = f"{first:,} tokens: {count:,}" if first == last else f"{first:,} to {last:,} tokens: {count:,}"
        box = f'x="{place * step:.1f}" y="{HEIGHT - height:.1f}" width="{step * 0.9:.1f}" height="{height:.1f}"'
        bars.append(f'<rect {box} fill="#4c86c6"><title>{label}</title></rect>')
    texts = [text(0, "1", "start"), text(WIDTH, f"{end:,}", "end")]
    if limit is not None and limit < end:
        x = WIDTH * limit / end
        bars.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}" stroke="#c0392b" stroke-dasharray="4"/>')
        texts.append(text(x, f"max_length {limit:,}", "middle"))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" width="{WIDTH}" height="{HEIGHT + FOOT}"'
    return f'<svg {size} role="img" font-size="12" fill="#57606a">{"".join([*bars, *texts])}</svg>'


def text(x: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT + 14}" text-anchor="{anchor}">{words}</text>'


def example_block(example: Marked) -> str:
    blocks = [
        f"<h4>{escape(one.name)}{cut_off(one)}</h4>\n<pre>{marked_up(one.spans)}</pre>" for one in example.sequences
    ]
    return "\n".join([f"<h3>{escape(example.place)}</h3>", *blocks])


def marked_up(spans: Sequence[Span]) -> str:
    """The text of an example in HTML; nothing of it is read as HTML."""
    pieces = []
    for span in spans:
        shown = escape(span.text.replace("\n", "↵\n") if span.trained else span.text)
        shown = f"<b>{shown}</b>" if span.special else shown
        pieces.append(f"<mark>{shown}</mark>" if span.trained else shown)
    return "".join(pieces)


def cut_off(sequence: MarkedSequence) -> str:
    return f" ({sequence.cut:,} tokens cut off)" if sequence.cut else ""


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table under its title; the cells of `rows` are HTML already."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<h2>{escape(title)}</h2>\n<table>\n<tr>{names}</tr>\n{body}\n</table>"


def cell(words: str, *, wrong: bool = False) -> str:
    return f'<td class="wrong">{escape(words)}</td>' if wrong else f"<td>{escape(words)}</td>"


def number(value: int | None) -> str:
    return "not counted" if value is None else f"{value:,}"

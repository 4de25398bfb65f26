"""The data report on a terminal."""

from accelerate import PartialState
from rich.console import Console
from rich.text import Text

from alignkit.cli._tokens import print_example
from alignkit.data.account import DataReport
from alignkit.data.load import SourceReport
from alignkit.data.report import Inspected
from alignkit.data.thresholds import percent

SHOWN = 600  # characters of each part of the example

# What may be wrong with examples: (count of Inspected, words). A zero is said too: silence could mean not looked at.
COUNTS = (
    ("truncated", "cut"),
    ("dropped", "left without a token to train on"),
    ("lost_end", "without end token"),
    ("changed_prompt", "whose prompt is no prefix of the whole"),
    ("marked", "with special tokens in a message"),
)


def print_once(report: DataReport) -> None:
    """Print the report on the first process only."""
    if PartialState().is_main_process:
        print_report(report)


def print_report(report: DataReport, console: Console | None = None) -> None:
    """Print what became of every source, and the first example that is trained on."""
    console = console or Console(highlight=False)
    for use, source, rows, found in report.sources():
        console.print(Text(f"{use}  ", style="bold").append(source, style="cyan"), soft_wrap=True)
        if rows is not None:
            console.print(Text("  ").append_text(_rows(rows)), soft_wrap=True)
        if found is not None:
            part = report.set_of(use)
            of = part.examples[source] if part and part.examples else None
            console.print(f"  {_lengths(found, report.treatment.max_length)}", markup=False, soft_wrap=True)
            console.print(Text("  ").append_text(_counts(found, of)), soft_wrap=True)
    console.print()
    print_example(console, report.example, SHOWN)
    console.print()


def _rows(rows: SourceReport) -> Text:
    if rows.read is None:
        return Text(f"streamed ({rows.kind}); nobody has counted its rows")
    text = Text(f"{rows.read:,} rows ({rows.kind}), {rows.kept:,} kept")
    if rows.dropped:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in rows.dropped.items())
        text.append(f", {sum(rows.dropped.values()):,} dropped: {reasons}", style="yellow")
    if rows.held_out:
        text.append(f", {rows.held_out:,} held out")
    if rows.turned:
        text.append(f", {rows.turned:,} turned round", style="yellow")
    return text.append(f"; {rows.used:,} examples{' an epoch' if rows.use == 'train' else ''}")


def _lengths(found: Inspected, max_length: int | None) -> str:
    lengths = found.lengths
    limit = "no max_length" if max_length is None else f"max_length {max_length:,}"
    return (
        f"tokens a sequence: median {lengths['median']:,}, 90 % {lengths['90 %']:,}, 99 % {lengths['99 %']:,}, longest "
        f"{lengths['longest']:,} ({limit}); {found.trained / max(found.tokens, 1):.0%} of them trained"
    )


def _counts(found: Inspected, of: int | None) -> Text:
    """`of` examples were looked at in part; None where their number is not known."""
    text = Text()
    if of is None:
        text.append(f"of the first {found.examples:,}: ")
    elif of > found.examples:
        text.append(f"of {found.examples:,} sampled from {of:,}: ")
    for place, (name, words) in enumerate(COUNTS):
        count = getattr(found, name)
        share = f" ({percent(count / found.examples)})" if count else ""
        text.append(", " if place else "").append(f"{count:,}{share} {words}", style="yellow" if count else "")
    return text

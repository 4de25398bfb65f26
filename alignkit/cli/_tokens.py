"""An example on a terminal: trained tokens in colour, special tokens bold."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from alignkit.data.marked import Marked, MarkedSequence, Span, shortened

TRAINED = "green"
BRACKETS = ("⟦", "⟧")  # around trained text where there is no colour
LEGEND = "trained tokens are green, special tokens bold"
PLAIN_LEGEND = f"trained tokens are between {BRACKETS[0]} and {BRACKETS[1]}"


def print_example(console: Console, marked: Marked, limit: int | None = None) -> None:
    """Print every sequence of an example; of spans longer than `limit` characters the ends."""
    coloured = console.is_terminal and not console.no_color
    console.print(Text(f"{marked.place} ({LEGEND if coloured else PLAIN_LEGEND})", style="bold"), soft_wrap=True)
    before: Sequence[Span] = ()
    for sequence in marked.sequences:
        prompt = _seen(sequence.spans)
        spans = sequence.spans
        if prompt and prompt == before:
            spans = (Span(text="(the same prompt) ", trained=False), *spans[len(prompt) :])
        before = prompt
        spans = spans if limit is None else shortened(spans, limit)
        text = Text(f"  {sequence.name}: ", style="bold").append_text(_text(spans, coloured))
        console.print(text.append(_cut(sequence), style="dim"), soft_wrap=True)


def _seen(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans before the first trained one."""
    first = next((i for i, span in enumerate(spans) if span.trained), len(spans))
    return tuple(spans[:first])


def _text(spans: Sequence[Span], coloured: bool) -> Text:
    text = Text(style="not bold")
    trained = False
    for span in spans:
        if not coloured and span.trained != trained:
            text.append(BRACKETS[0] if span.trained else BRACKETS[1])
        trained = span.trained
        style = f"{TRAINED if span.trained else 'default'}{' bold' if span.special else ''}"
        text.append(_line_ends(span), style=style if coloured else "")
    return text.append(BRACKETS[1]) if trained and not coloured else text


def _line_ends(span: Span) -> str:
    """A trained line feed is a token like others, and would not be seen."""
    return span.text.replace("\n", "↵\n") if span.trained else span.text


def _cut(sequence: MarkedSequence) -> str:
    return f" … {sequence.cut:,} tokens cut off" if sequence.cut else ""

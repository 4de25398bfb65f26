"""One example as it is trained on: its text in spans, each trained or only seen, special tokens apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from alignkit.data.sequences import TokenSequence, Treatment, sequences, special_tokens, text_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


RUN = 3  # the same special token more often in a row is written once


@dataclass(frozen=True, kw_only=True)
class Span:
    """Neighbouring tokens of one kind."""

    text: str  # control characters written out
    trained: bool
    special: bool = False  # one token that the template or the tokenizer writes


@dataclass(frozen=True, kw_only=True)
class MarkedSequence:
    """One of the sequences of an example: a pair has two."""

    name: str  # the field that it ends with
    spans: tuple[Span, ...]
    cut: int = 0  # tokens that truncation takes away


@dataclass(frozen=True, kw_only=True)
class Marked:
    """An example, and where it is from."""

    source: str
    place: str
    sequences: tuple[MarkedSequence, ...]


def mark(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, treatment: Treatment) -> Marked:
    """The example as the trainer sees it, after truncation."""
    special = special_tokens(tokenizer)
    text = text_tokenizer(tokenizer)
    found = []
    for whole in sequences(row, tokenizer, treatment):
        left = whole.cut(treatment)
        spans = tuple(merged(pieces(left, text), special))
        found.append(MarkedSequence(name=whole.name, spans=spans, cut=len(whole.ids) - len(left.ids)))
    return Marked(source=row.get("source", "data"), place=row.get("place", "data"), sequences=tuple(found))


def pieces(sequence: TokenSequence, tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, bool]]:
    """(text, trained) of every token; a character of several tokens comes as one.

    Joined, the texts are the sequence as the tokenizer decodes it: each token is decoded after the one before it,
    since some tokenizers drop the space of a token that comes first.
    """
    ids = list(sequence.ids)
    texts: list[tuple[str, bool]] = []
    context, shown = 0, 0
    for end in range(1, len(ids) + 1):
        text = str(tokenizer.decode(ids[context:end], clean_up_tokenization_spaces=False))
        if text.endswith("\N{REPLACEMENT CHARACTER}") and end < len(ids):
            continue  # the character goes on in the next token
        before = str(tokenizer.decode(ids[context:shown], clean_up_tokenization_spaces=False))
        texts.append((text.removeprefix(before), sequence.trained[shown]))
        context, shown = shown, end
    return texts


def merged(tokens: Sequence[tuple[str, bool]], special: Mapping[str, int]) -> Iterator[Span]:
    """Tokens of one kind as one span; every special token as its own, a long run of one (an image) with its number."""
    kinds = [Span(text=visible(text), trained=trained, special=text in special) for text, trained in tokens]
    for (trained, is_special), group in groupby(kinds, key=lambda span: (span.trained, span.special)):
        if is_special:
            for text, run in groupby(group, key=lambda span: span.text):
                alike = list(run)
                if len(alike) > RUN:
                    yield Span(text=f"{text} × {len(alike)}", trained=trained, special=True)
                else:
                    yield from alike
        else:
            yield Span(text="".join(span.text for span in group), trained=trained)


def visible(text: str) -> str:
    """Text whose control and invisible characters are written out: a terminal would obey some of them."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def shortened(spans: Sequence[Span], limit: int) -> tuple[Span, ...]:
    """The spans with the middle of each long one left out; what is around a change from seen to trained stays."""
    return tuple(replace(span, text=_ends(span.text, limit)) for span in spans)


def _ends(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    left_out = len(text) - limit
    return f"{text[: limit // 2]} … {left_out:,} characters … {text[len(text) - (limit - limit // 2) :]}"

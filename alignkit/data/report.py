"""What truncation and the chat template would do to the data, counted before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alignkit.data.layouts import Shape
from alignkit.data.sequences import TokenSequence, Treatment, end_tokens, sequences, special_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 20  # places named in an error
QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "longest": 1.0}
BARS = 40  # of a histogram, at most


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many sequences have 1 to `width` tokens, `width` + 1 to 2 * `width`, and so on."""

    width: int
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """Counts of examples, and lengths in tokens before truncation, of one source or of all."""

    source: str
    examples: int
    kept: int  # trained on, whole or truncated
    truncated: int  # longer than max_length; of a pair at least one answer
    dropped: int  # nothing to train on is left within max_length
    lost_end: int  # kept, but without the token that ends an answer: the model learns to go on
    changed_prompt: int  # the prompt's tokens are no prefix of the whole: training and generation see different ones
    marked: int  # a message holds special tokens, as if a template had been applied already
    cut_images: int  # truncation leaves a part of an image, which no model takes
    tokens: int  # in all sequences, after truncation
    trained: int  # of those, the ones that the loss is over
    lengths: Mapping[str, int] = field(default_factory=dict)  # quantiles over sequences: median, 90 %, 99 %, longest
    histogram: Histogram | None = None  # of the same lengths
    places: tuple[str, ...] = ()  # of the first dropped examples


@dataclass(frozen=True, kw_only=True)
class Report:
    """By source, and over all of them."""

    sources: tuple[Inspected, ...]
    total: Inspected


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is the same for every example."""

    shape: Shape
    tokenizer: PreTrainedTokenizerBase
    treatment: Treatment
    ends: frozenset[int]
    special: tuple[str, ...]
    image: int | None  # token that stands for a part of an image


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is found in one example; the names are those of Inspected."""

    source: str
    place: str
    lengths: tuple[int, ...]
    truncated: bool
    dropped: bool
    lost_end: bool
    changed_prompt: bool
    marked: bool
    cut_images: bool
    tokens: int
    trained: int


def inspect(
    dataset: Iterable[Mapping[str, Any]], shape: Shape, tokenizer: PreTrainedTokenizerBase, treatment: Treatment
) -> Report:
    """Tokenize every example and count what training would do to it. Give a part of the dataset for an estimate.

    The tokenizer's chat template is taken as it is. Prompts without answers are not trained on, dropped or ended.
    """
    limits = Limits(
        shape=shape,
        tokenizer=tokenizer,
        treatment=treatment,
        ends=end_tokens(tokenizer),
        special=tuple(special_tokens(tokenizer)),
        image=getattr(tokenizer, "image_token_id", None),
    )
    findings = [found_in(row, number, limits) for number, row in enumerate(dataset, start=1)]
    names = dict.fromkeys(finding.source for finding in findings)
    by_source = [summed(name, [finding for finding in findings if finding.source == name]) for name in names]
    return Report(sources=tuple(by_source), total=summed("all", findings))


def found_in(row: Mapping[str, Any], number: int, limits: Limits) -> Finding:
    whole = sequences(row, limits.tokenizer, limits.treatment)
    left = [sequence.cut(limits.treatment) for sequence in whole]
    trains = limits.shape not in ("prompts", "tasks")
    dropped = trains and not all(any(sequence.trained) for sequence in left)
    images = partial(image_tokens, image=limits.image)
    ended = all(sequence.ends_within(limits.ends, limits.treatment) for sequence in whole)
    return Finding(
        source=row.get("source", "data"),
        place=row.get("place", f"row {number}"),
        lengths=tuple(len(sequence.ids) for sequence in whole),
        truncated=[len(sequence.ids) for sequence in left] != [len(sequence.ids) for sequence in whole],
        dropped=dropped,
        lost_end=trains and not dropped and not ended,
        changed_prompt=any(sequence.left_out for sequence in whole),
        marked=holds_any(row, limits.special),
        cut_images="images" in row and [*map(images, left)] != [*map(images, whole)],
        tokens=0 if dropped else sum(len(sequence.ids) for sequence in left),
        trained=0 if dropped else sum(sum(sequence.trained) for sequence in left),
    )


def image_tokens(sequence: TokenSequence, image: int | None) -> int:
    return sum(id == image for id in sequence.ids)


def holds_any(row: Mapping[str, Any], special: Sequence[str]) -> bool:
    """Whether the text of a message holds special tokens. Plain text may: its author writes the template."""
    parts = [part for name, part in row.items() if isinstance(part, list) and name not in ("images", "answers")]
    parts += [answer for answer in row.get("answers", ()) if isinstance(answer, list)]
    return any(token in message["content"] for part in parts for message in part for token in special)


def summed(source: str, findings: Sequence[Finding]) -> Inspected:
    dropped = [finding for finding in findings if finding.dropped]
    lengths = np.array([length for finding in findings for length in finding.lengths])
    return Inspected(
        source=source,
        examples=len(findings),
        kept=len(findings) - len(dropped),
        truncated=sum(finding.truncated and not finding.dropped for finding in findings),
        dropped=len(dropped),
        lost_end=sum(finding.lost_end for finding in findings),
        changed_prompt=sum(finding.changed_prompt for finding in findings),
        marked=sum(finding.marked for finding in findings),
        cut_images=sum(finding.cut_images for finding in findings),
        tokens=sum(finding.tokens for finding in findings),
        trained=sum(finding.trained for finding in findings),
        lengths={name: int(np.quantile(lengths, q, method="higher")) for name, q in QUANTILES.items()},
        histogram=histogram(lengths),
        places=tuple(dict.fromkeys(finding.place for finding in dropped))[:SHOWN],
    )


def histogram(lengths: NDArray[np.int64]) -> Histogram:
    width = max(1, -(-int(lengths.max()) // BARS))
    return Histogram(width=width, counts=tuple(np.bincount((np.maximum(lengths, 1) - 1) // width).tolist()))

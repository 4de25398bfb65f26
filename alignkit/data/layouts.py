"""Recognizing how the rows of a source are written.

| format      | the conversation is in                            | answers                                    |
|-------------|---------------------------------------------------|--------------------------------------------|
| `prompt`    | prompt: plain text or messages                    | completion, or chosen and rejected         |
| `messages`  | messages of role and content                      | the last message, or chosen and rejected   |
| `sharegpt`  | conversations of from and value                   | the last message, or chosen and rejected   |
| `alpaca`    | instruction and input, made one user message      | output, or chosen and rejected             |
| `implicit`  | chosen and rejected, which both repeat it         | their ends                                 |
| `text`      | text                                              | none                                       |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, get_args

from datasets import Features, Image, List, Value

from alignkit.data.errors import DataError
from alignkit.data.images import NAMES as IMAGES
from alignkit.data.images import has_images
from alignkit.data.rated import OF_PAIRS, Ties
from alignkit.data.rows import Row
from alignkit.data.spec import Source

Shape = Literal["tokens", "pairs", "rankings", "unpaired", "prompts", "tasks"]
SHAPES: tuple[str, ...] = get_args(Shape)

OTHERS = "columns"  # of the shape tasks: what else a row holds, as JSON, since rewards read columns of any type
HOLDS = {  # the field by which each format is known, in the order in which they are tried
    "prompt": "prompt",
    "messages": "messages",
    "sharegpt": "conversations",
    "alpaca": "instruction",
}
FIELDS = (
    *HOLDS.values(),
    "input",
    "output",
    "completion",
    "chosen",
    "rejected",
    "answers",
    "scores",
    "label",
    "text",
    "system",
    *IMAGES,
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of one source are written, decided once for all of them."""

    shape: Shape
    format: str  # one of spec.FORMATS, never auto
    conversational: bool  # messages, not plain text
    paired: bool = False  # the answers are chosen and rejected
    ties: Ties | None = None  # the answers have scores, and what becomes of equal ones; None: they have none
    images: bool = False  # rows hold images beside their text
    joined: bool = False  # of the shape tokens: prompt and answer become messages, as other sources of the mixture have
    columns: tuple[str, ...] = ()  # numbers that the objective reads
    renamed: Mapping[str, str] = field(default_factory=dict)  # our name: name in the file

    @property
    def answer(self) -> str:
        """The field of a single answer."""
        return "output" if self.format == "alpaca" else "completion"

    @property
    def columns_of_rows(self) -> tuple[str, ...]:
        """The numbers that rows hold; others follow from the scores of rated answers."""
        return self.columns if self.ties is None else tuple(name for name in self.columns if name not in OF_PAIRS)


def recognize(
    rows: Sequence[Row], source: Source, label: str, shape: Shape, columns: Sequence[str], ties: Ties | None = None
) -> Layout:
    """The layout of a source, from its first rows. Raises DataError if there is none, or more than one.

    `ties` says what becomes of answers with equal scores; without it scores beside answers are not read.
    """
    there = list(dict.fromkeys(key for row in rows for key in row))
    for ours, theirs in source.columns.items():
        if ours not in (*FIELDS, *columns) and shape != "tasks":  # whose rewards read columns of any name
            near = get_close_matches(ours, (*FIELDS, *columns), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join((*FIELDS, *columns))}"
            raise DataError(f"{label}: columns maps {ours!r}, which is no field of a row; {hint}")
        if theirs not in there:
            raise DataError(f"{label}: columns: {{{ours}: {theirs}}} names no column; there are {', '.join(there)}")
    rows = [renamed(row, source.columns) for row in rows]
    names = list(dict.fromkeys(key for row in rows for key, value in row.items() if value is not None))
    rated = ties is not None and is_rated(shape, names)
    for column in columns:
        if not any(column in row for row in rows) and not (rated and column in OF_PAIRS):
            raise DataError(
                f"{label} has no column {column!r}, which the objective reads; there are {', '.join(there)}. "
                f"Write columns: {{{column}: NAME}} if it goes by another name"
            )
    paired = not rated and is_paired(shape, names)
    format = source.format if source.format != "auto" else guessed_format(names, label, shape, paired)
    return Layout(
        shape=shape,
        format=format,
        conversational=format != "text" and (format != "prompt" or any(map(is_conversation, rows))),
        paired=paired,
        ties=ties if rated else None,
        images=shape in ("tokens", "pairs") and any(map(has_images, rows)),
        columns=tuple(columns),
        renamed=dict(sorted(source.columns.items())),
    )


def is_paired(shape: Shape, names: Sequence[str]) -> bool:
    """Whether the answers of a row are chosen and rejected; such a pair is a ranking too."""
    if shape == "rankings" and "answers" in names:
        return False
    return shape == "pairs" or (shape in ("unpaired", "rankings") and {"chosen", "rejected"} <= set(names))


def is_rated(shape: Shape, names: Sequence[str]) -> bool:
    """Whether pairs or a ranking follow from answers with scores; a pair that is written out is taken as it is."""
    written = shape == "pairs" and {"chosen", "rejected"} <= set(names)
    return shape in ("pairs", "rankings") and {"answers", "scores"} <= set(names) and not written


def guessed_format(names: Sequence[str], label: str, shape: Shape, paired: bool) -> str:
    """The one format whose fields are all there."""
    fits = [name for name, holds in HOLDS.items() if set(needed(name, shape, paired)) | {holds} <= set(names)]
    pair = {"chosen", "rejected"} <= set(names)
    asks = shape in ("prompts", "tasks")
    if paired or (asks and pair):
        # beside a pair, `messages` repeats the chosen conversation and is no prompt
        fits = [name for name in fits if name != "messages"]
        fits = fits or (["implicit"] if pair else [])
    if asks and "prompt" in fits:
        fits = ["prompt"]
    if shape == "tokens" and not fits and "text" in names:
        fits = ["text"]
    if len(fits) == 1:
        return fits[0]
    there = ", ".join(names) or "none"
    if fits:
        raise DataError(f"{label} can be read as {' or '.join(fits)}; write format: {fits[0]} (columns: {there})")
    raise DataError(
        f"{label}: no format gives {shape} from the columns {there}. Needed are {WANTED[shape]}; "
        "write columns: {OURS: THEIRS} if they go by other names"
    )


def needed(format: str, shape: Shape, paired: bool) -> tuple[str, ...]:
    """Fields beside the conversation that a format must have for a shape."""
    if paired:
        return ("chosen", "rejected")
    answer = "output" if format == "alpaca" else "completion"
    if shape == "unpaired":
        return (answer, "label")
    if shape in ("pairs", "rankings"):
        return ("answers",)
    if shape == "tokens" and format in ("prompt", "alpaca"):
        return (answer,)
    return ()


WANTED: Mapping[str, str] = {
    "tokens": "messages, conversations, prompt and completion, instruction and output, or text",
    "pairs": "chosen and rejected, with prompt unless both hold the whole conversation, or prompt, answers and scores",
    "rankings": "prompt and answers (best first, or with scores), or chosen and rejected",
    "unpaired": "prompt, completion and label, or chosen and rejected",
    "prompts": "prompt, messages, conversations or instruction",
    "tasks": "prompt, messages, conversations or instruction",
}


def is_conversation(row: Row) -> bool:
    """Whether any part of a row of format `prompt` is a list of messages."""
    parts = [row.get(name) for name in ("prompt", "completion", "chosen", "rejected")]
    answers = row.get("answers")
    parts += answers if isinstance(answers, list) else []
    return any(isinstance(part, list | dict) for part in parts)


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row under our names; a mapped column hides one that had the name before."""
    if not columns:
        return row
    taken = {*columns, *columns.values()}
    kept = {key: value for key, value in row.items() if key not in taken}
    return {**kept, **{ours: row.get(theirs) for ours, theirs in columns.items()}}


def gives_messages(layout: Layout) -> bool:
    """Whether examples are whole conversations, not a prompt and its answer."""
    return layout.shape == "tokens" and (layout.joined or layout.format in ("messages", "sharegpt"))


def features(layout: Layout) -> Features:
    """Column types of the examples, fixed so that one row cannot change them for all."""
    messages = List({"role": Value("string"), "content": Value("string")})
    part = messages if layout.conversational else Value("string")
    names = {
        "tokens": ("text",) if layout.format == "text" else ("prompt", "completion"),
        "pairs": ("prompt", "chosen", "rejected"),
        "rankings": ("prompt",),
        "unpaired": ("prompt", "completion"),
        "prompts": ("prompt",),
        "tasks": ("prompt",),
    }[layout.shape]
    if gives_messages(layout):
        names = ("messages",)
    extra = {"label": Value("bool")} if layout.shape == "unpaired" else {}
    if layout.shape == "rankings":
        extra["answers"] = List(part)
    if layout.shape == "tasks":
        extra[OTHERS] = Value("string")
    if layout.images:
        extra["images"] = List(Image())
    return Features({**dict.fromkeys(names, part), **extra, **dict.fromkeys(layout.columns, Value("float64"))})

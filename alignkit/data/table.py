"""A source read to its end: every row brought to its shape in an Arrow file on disk, bad rows noted beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, Features, Value
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray

from alignkit.data.errors import BadRow, DataError
from alignkit.data.formats import Example, canonical
from alignkit.data.layouts import Layout, features
from alignkit.data.rated import ALL_TIED
from alignkit.data.sources import Opened

PLACES = ("source", "place")  # columns that say where an example is from: "pairs.jsonl" and "pairs.jsonl:12"
NOTES = ("problem", "detail", "group")  # columns that are for this layer only
SHOWN = 20  # bad rows named in an error


@dataclass(frozen=True, kw_only=True)
class Table:
    """The examples of one source, good ones by their numbers in `dataset`."""

    dataset: Dataset  # the shape's columns and PLACES
    good: NDArray[np.int64]
    groups: NDArray[np.int64]  # of the good ones: equal where the prompt is
    rows: int = 0  # that gave the good examples
    bad: tuple[str, ...] = ()  # the first SHOWN, in words
    dropped: Mapping[str, int] = field(default_factory=dict)  # rows by reason


def placed_features(layout: Layout) -> Features:
    return Features({**features(layout), **dict.fromkeys(PLACES, Value("string"))})


def noted_features(layout: Layout) -> Features:
    notes = {"problem": Value("string"), "detail": Value("string"), "group": Value("int64")}
    return Features({**placed_features(layout), **notes})


def noted_examples(opened: Opened, layout: Layout) -> Iterator[Example]:
    """Every example with its notes; a bad row gives one without content, so that reading can go on."""
    nothing: Example = dict.fromkeys(noted_features(layout))
    for place, row in opened.rows():
        where = {"source": opened.label, "place": place}
        try:
            if isinstance(row, BadRow):
                raise row
            examples = canonical(row, layout)
            for example in examples:
                yield {**nothing, **example, **where, "group": group_of(example)}
            if not examples:
                yield {**nothing, **where, "problem": ALL_TIED}
        except BadRow as bad:
            yield {**nothing, **where, "problem": bad.reason, "detail": bad.detail}


def group_of(example: Example) -> int:
    """A number that examples with the same prompt share: the prompt, the text, or all but the last message."""
    if "messages" in example:
        prompt = example["messages"][:-1]
    else:
        prompt = example["text"] if "text" in example else example["prompt"]
    hashed = hashlib.blake2b(json.dumps(prompt).encode(), digest_size=8)
    for image in example.get("images", ()):  # another question if it is about another picture
        hashed.update(image["bytes"] or image["path"].encode())
    digest = hashed.digest()
    return int.from_bytes(digest, "big", signed=True)


def read_table(opened: Opened, layout: Layout) -> Table:
    """Read a source in constant memory. The Arrow file is cached by `datasets` and shared by all processes."""
    key = key_of(opened, layout)
    try:
        dataset = Dataset.from_generator(
            noted_examples,
            features=noted_features(layout),
            gen_kwargs={"opened": opened, "layout": layout},
            fingerprint=key,
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise
    # what `datasets` knows only of a file that it has just written would be in later keys: those of tokens
    dataset = Dataset(dataset.data, fingerprint=key)
    problems = dataset.data.column("problem")
    is_bad = pc.is_valid(problems).to_numpy()
    good = np.flatnonzero(~is_bad)
    wrong = pc.fill_null(pc.not_equal(problems, ALL_TIED), False).to_numpy()
    first = dataset.select(np.flatnonzero(wrong)[:SHOWN])
    return Table(
        dataset=dataset.remove_columns(list(NOTES)),
        good=good,
        groups=dataset.data.column("group").take(good).to_numpy(),
        rows=len(pc.unique(dataset.data.column("place").take(good))),
        bad=tuple(in_words(row) for row in first),
        dropped={pair["values"]: pair["counts"] for pair in pc.value_counts(problems.drop_null()).to_pylist()},
    )


def in_words(row: Mapping[str, Any]) -> str:
    return f"{row['place']}: {row['problem']}" + (f": {row['detail']}" if row["detail"] else "")


def key_of(opened: Opened, layout: Layout) -> str:
    """What the examples depend on. The code that reads them is part of it: a new version must not find old files."""
    # paths of images lie in the table, and are relative to the folder
    folders = [str(path.parent.absolute()) for _, path in opened.files] if layout.images else []
    source = (opened.label, opened.fingerprint, opened.split, opened.limit, folders)
    parts = (*source, layout, code_digest(), datasets.__version__)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


@cache
def code_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()

"""From a recipe's `data:` section to the datasets a trainer takes, the same in every process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
from datasets import Dataset, IterableDataset, concatenate_datasets

from alignkit.data import mix, noise, scores, stream
from alignkit.data.errors import BadRow, DataError
from alignkit.data.layouts import FIELDS, SHAPES, Layout, Shape, features, gives_messages, recognize
from alignkit.data.rated import ALL_TIED
from alignkit.data.sources import Opened, open_source
from alignkit.data.spec import DataSpec, Source
from alignkit.data.table import PLACES, SHOWN, Table, read_table

FIRST_ROWS = 100  # from which the layout of a source is recognized


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """What became of the rows of one source. Counts are None while streaming, where nobody has seen the end."""

    source: str
    use: str  # train or eval
    format: str  # recognized or declared
    conversational: bool  # messages, to which the chat template is applied; or plain text
    joined: bool = False  # prompt and answer made one conversation, which other sources of the mixture hold
    read: int | None = None  # rows in the source, up to its limit
    kept: int | None = None  # rows that can be used
    dropped: Mapping[str, int] = field(default_factory=dict)  # rows by reason
    held_out: int | None = None  # examples set aside for evaluation
    used: int | None = None  # examples per epoch, after the hold-out and the weight
    turned: int | None = None  # different examples that label noise turned round

    @property
    def kind(self) -> str:
        """How rows were read, in words."""
        text = "messages" if self.conversational else "plain text"
        return f"{self.format}, prompt and answer joined as {text}" if self.joined else f"{self.format}, {text}"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Datasets in one shape, each row with its PLACES, and what is needed to say later which data they were."""

    train: Dataset | IterableDataset
    eval: Dataset | IterableDataset | None
    fingerprints: Mapping[str, str]  # by source: sha256 of local contents, or the version of a Hub dataset
    report: tuple[SourceReport, ...]  # in the order of the recipe, train before eval


@dataclass(frozen=True, kw_only=True)
class Found:
    """A source that was opened and recognized."""

    source: Source
    use: str
    opened: Opened
    layout: Layout

    @property
    def report(self) -> SourceReport:
        return SourceReport(
            source=self.opened.label,
            use=self.use,
            format=self.layout.format,
            conversational=self.layout.conversational,
            joined=self.layout.joined,
        )


def load_data(spec: DataSpec, shape: Shape, columns: Sequence[str] = (), base: Path | None = None) -> Data:
    """Read, check and mix what a recipe trains and evaluates on.

    `columns` are the numbers that the objective reads beside the text; local paths are relative to `base`, the
    recipe's folder (by default the working directory). Raises DataError.
    """
    check_request(spec, shape, columns)
    sources = [(source, "train") for source in spec.train] + [(source, "eval") for source in spec.eval]
    found = alike([find(source, use, spec, shape, columns, base or Path.cwd()) for source, use in sources])
    fingerprints = {one.opened.label: one.opened.fingerprint for one in found}
    if spec.streaming:
        return streamed(spec, found, fingerprints)
    tables = [read_table(one.opened, one.layout) for one in found]
    check_rows(spec, found, tables)
    return assembled(spec, found, tables, fingerprints)


def check_request(spec: DataSpec, shape: str, columns: Sequence[str]) -> None:
    if shape not in SHAPES:
        raise ValueError(f"no shape named {shape!r}; it is one of {', '.join(SHAPES)}")
    taken = [name for name in columns if name in (*FIELDS, *PLACES)]
    if taken:
        raise ValueError(f"column {taken[0]!r} has a meaning of its own in a row; name the number otherwise")
    if spec.streaming and shape == "unpaired":
        raise DataError("streaming gives rows as they come, and unpaired rows are mixed by their label; remove it")
    if spec.normalize_scores != "none" and not scores_of(columns):
        raise DataError("normalize_scores has nothing to normalize: this objective reads no scores; remove it")
    if spec.ties == "half" and not scores_of(columns):
        raise DataError(
            "ties: half is a label of one half, and this objective knows better and worse alone; write ties: drop, or "
            "objective: {name: mmpo_reward}, whose label of equal scores is one half"
        )
    if spec.label_noise and shape not in ("pairs", "unpaired"):
        raise DataError(f"label_noise turns preferences round, and rows of shape {shape} hold none; remove it")


def find(source: Source, use: str, spec: DataSpec, shape: Shape, columns: Sequence[str], base: Path) -> Found:
    opened = open_source(source, base, streaming=spec.streaming)
    first = list(islice(opened.rows(), FIRST_ROWS))
    if not first:
        raise DataError(f"{opened.label} has no rows; give a source that holds at least one")
    rows = [row for _, row in first if not isinstance(row, BadRow)]
    if not rows:
        place, bad = first[0]
        raise DataError(f"{place}: {bad}; none of the first {len(first)} rows of {opened.label} can be read")
    layout = recognize(rows, source, opened.label, shape, columns, spec.ties)
    return Found(source=source, use=use, opened=opened, layout=layout)


def alike(found: Sequence[Found]) -> list[Found]:
    """The sources with layouts that can be mixed: where some hold whole conversations, prompts and answers are joined.

    Trainers look at the first row to tell messages from plain text, so a mixture has to be one kind. Raises DataError.
    """
    if any(gives_messages(one.layout) for one in found):
        found = [replace(one, layout=replace(one.layout, joined=can_join(one.layout))) for one in found]
    first = found[0]
    for other in found[1:]:
        if features(other.layout) != features(first.layout):
            raise DataError(
                f"{first.opened.label} gives {in_words(first.layout)}, {other.opened.label} gives "
                f"{in_words(other.layout)}; all sources of a recipe must give the same{advice(first, other)}"
            )
    return list(found)


def can_join(layout: Layout) -> bool:
    return layout.conversational and not gives_messages(layout)


def advice(first: Found, other: Found) -> str:
    """What to write where only the kind of text differs."""
    plain = next((one for one in (first, other) if not one.layout.conversational), None)
    if plain is None or first.layout.conversational == other.layout.conversational:
        return ""
    return (
        f". No chat template is applied to plain text: where {plain.opened.label} holds what users and assistants say, "
        'write it as messages, [{"role": "user", "content": ...}]'
    )


def in_words(layout: Layout) -> str:
    names = [name for name in features(layout) if name not in layout.columns]
    return f"{', '.join(names)} as {'messages' if layout.conversational else 'plain text'}"


def check_rows(spec: DataSpec, found: Sequence[Found], tables: Sequence[Table]) -> None:
    reasons = [(reason, count) for table in tables for reason, count in table.dropped.items()]
    total = sum(count for reason, count in reasons if reason != ALL_TIED)  # which the recipe asked to leave out
    if total and spec.on_bad_rows == "error":
        bad = [line for table in tables for line in table.bad][:SHOWN]
        more = f"\n  and {total - len(bad)} more" if total > len(bad) else ""
        rows = "1 row" if total == 1 else f"{total} rows"
        raise DataError(
            f"{rows} cannot be used:\n  " + "\n  ".join(bad) + more + "\n"
            "Correct the data, or write on_bad_rows: drop to go on without them."
        )
    for one, table in zip(found, tables, strict=True):
        if not len(table.good):
            first = next(iter(table.bad), f"{ALL_TIED} in every row")
            raise DataError(f"no row of {one.opened.label} can be used; the first: {first}")


def streamed(spec: DataSpec, found: Sequence[Found], fingerprints: Mapping[str, str]) -> Data:
    drop = spec.on_bad_rows == "drop"
    streams = [stream.stream(one.opened, one.layout, drop=drop) for one in found]
    count = len(spec.train)
    return Data(
        train=stream.mixed(streams[:count], [source.weight for source in spec.train], spec.seed),
        eval=stream.joined(streams[count:]),
        fingerprints=fingerprints,
        report=tuple(one.report for one in found),
    )


def assembled(spec: DataSpec, found: Sequence[Found], tables: Sequence[Table], fingerprints: Mapping[str, str]) -> Data:
    """Rows go by their number in the joined training tables, and are picked once, at the end."""
    count = len(spec.train)
    starts = np.cumsum([0, *(table.dataset.num_rows for table in tables[:count])])
    parts = [
        mix.Part(
            rows=start + table.good,
            groups=table.groups,
            weight=one.source.weight,
            label=one.opened.label,
            fingerprint=one.opened.fingerprint,
        )
        for start, table, one in zip(starts, tables[:count], found, strict=False)
    ]
    plan = mix.plan(parts, holdout=spec.holdout, seed=spec.seed)
    if spec.normalize_scores == "zscore":
        tables = normalized(tables, scores_of(found[0].layout.columns), plan.order)
    joined = concatenate_datasets([table.dataset for table in tables[:count]])
    turned = noise.drawn(plan.order, spec.label_noise, spec.seed)
    train = noise.picked(joined, plan.order, turned)
    check_classes(train)
    evaluation = [table.dataset.select(table.good) for table in tables[count:]]
    if spec.holdout:
        evaluation = [joined.select(plan.held_out)]
    counts = [np.histogram(rows, bins=starts)[0].tolist() for rows in (plan.held_out, plan.order, turned)]
    return Data(
        train=train,
        eval=concatenate_datasets(evaluation) if evaluation else None,
        fingerprints=fingerprints,
        report=reported(found, tables, zip(*counts, strict=True)),
    )


def normalized(tables: Sequence[Table], names: Sequence[str], order: mix.Numbers) -> list[Table]:
    datasets = scores.standardized([table.dataset for table in tables], names, order)
    return [replace(table, dataset=dataset) for table, dataset in zip(tables, datasets, strict=True)]


def scores_of(columns: Sequence[str]) -> list[str]:
    """The columns that are scores: other numbers, such as log-probabilities, have a scale of their own."""
    return [name for name in columns if name.startswith("score_")]


def reported(
    found: Sequence[Found], tables: Sequence[Table], counts: Iterable[tuple[int, int, int]]
) -> tuple[SourceReport, ...]:
    """`counts` are held out, used and turned for each training source."""
    reports = []
    for one, table, known in zip_longest(found, tables, counts):
        kept = table.rows
        read = kept + sum(table.dropped.values())
        used = dict(zip(("held_out", "used", "turned"), known or (0, len(table.good), 0), strict=True))
        reports.append(replace(one.report, read=read, kept=kept, dropped=table.dropped, **used))
    return tuple(reports)


def check_classes(train: Dataset) -> None:
    """Unpaired methods compare desirable with undesirable answers and learn nothing from one kind."""
    if "label" not in train.column_names:
        return
    first = train[0]["label"]
    if all(label == first for label in train["label"]):  # stops at the first that differs
        raise DataError(f"every training row has label {str(first).lower()}; the method needs both")

"""The data report: what becomes of every source, from its rows to the tokens that are trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, IterableDataset

from alignkit.data.layouts import Shape
from alignkit.data.load import Data, SourceReport
from alignkit.data.marked import Marked, mark
from alignkit.data.report import Inspected, Report, inspect
from alignkit.data.sequences import Treatment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = 2000  # examples of a large set that are tokenized for the report; a smaller set is tokenized whole
AT_LEAST = 100  # of each of its sources
WITH_IMAGES = 100  # the same for examples with images, which take far longer
STREAMED = 500  # first examples of a stream


@dataclass(frozen=True, kw_only=True)
class SetReport:
    """The training set, or the evaluation set, as it is tokenized."""

    use: str  # train or eval
    report: Report
    examples: Mapping[str, int] | None  # by source, in an epoch; None while streaming, where nobody has seen the end

    @property
    def sampled(self) -> bool:
        return self.examples is None or sum(self.examples.values()) > self.report.total.examples

    def mean(self, *counts: str) -> float:
        """Sum of these counts of Inspected, per example of the set: each source weighs what it has in it."""
        found = {one.source: sum(getattr(one, name) for name in counts) / one.examples for one in self.report.sources}
        sizes = self.examples or {one.source: one.examples for one in self.report.sources}
        return sum(found[source] * size for source, size in sizes.items()) / sum(sizes.values())


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What a recipe's data are, and what training would do to them."""

    rows: tuple[SourceReport, ...]  # what became of the rows, by source
    sets: tuple[SetReport, ...]  # what becomes of the examples: training set, evaluation set
    treatment: Treatment
    example: Marked  # the first that is trained on

    def sources(self) -> list[tuple[str, str, SourceReport | None, Inspected | None]]:
        """(use, source, its rows, its examples) of every source; a held-out part has no rows of its own."""
        rows = {(one.use, one.source): one for one in self.rows}
        found = {(part.use, one.source): one for part in self.sets for one in part.report.sources}
        return [(*key, rows.get(key), found.get(key)) for key in dict.fromkeys([*rows, *found])]

    def set_of(self, use: str) -> SetReport | None:
        return next((part for part in self.sets if part.use == use), None)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def take_account(
    data: Data, shape: Shape, tokenizer: PreTrainedTokenizerBase, treatment: Treatment, *, whole: bool = False
) -> DataReport:
    """Tokenize the data, or a sample of each source where they are large; all of them with `whole`."""
    sets = {"train": data.train, "eval": data.eval}
    return DataReport(
        rows=data.report,
        sets=tuple(
            set_report(use, dataset, shape, tokenizer, treatment, whole)
            for use, dataset in sets.items()
            if dataset is not None
        ),
        treatment=treatment,
        example=mark(next(iter(data.train)), tokenizer, treatment),
    )


def set_report(
    use: str,
    dataset: Dataset | IterableDataset,
    shape: Shape,
    tokenizer: PreTrainedTokenizerBase,
    treatment: Treatment,
    whole: bool,
) -> SetReport:
    if not isinstance(dataset, Dataset):
        rows = list(islice(dataset, STREAMED))
        return SetReport(use=use, report=inspect(rows, shape, tokenizer, treatment), examples=None)
    sources = dataset["source"][:]
    size = WITH_IMAGES if "images" in dataset.column_names else SAMPLE
    rows = dataset if whole else dataset.select(picked(np.array(sources), size, min(size, AT_LEAST)))
    return SetReport(use=use, report=inspect(rows, shape, tokenizer, treatment), examples=dict(Counter(sources)))


def picked(sources: np.ndarray, size: int, at_least: int) -> np.ndarray:
    """Numbers of `size` examples, spread evenly over each source in proportion to it; all where there are no more."""
    if len(sources) <= size:
        return np.arange(len(sources))
    chosen = []
    for name in np.unique(sources):
        places = np.flatnonzero(sources == name)
        wanted = min(len(places), max(at_least, round(size * len(places) / len(sources))))
        chosen.append(places[np.arange(wanted) * len(places) // wanted])
    return np.sort(np.concatenate(chosen))

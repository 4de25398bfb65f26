"""Sources read while training goes on, for data that are too large to be read first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from datasets import IterableDataset, concatenate_datasets, interleave_datasets

from alignkit.data.errors import BadRow, DataError
from alignkit.data.formats import Example, canonical
from alignkit.data.layouts import Layout
from alignkit.data.sources import Opened
from alignkit.data.table import placed_features

BUFFER = 10_000  # rows among which a stream is shuffled


def stream(opened: Opened, layout: Layout, *, drop: bool) -> IterableDataset:
    return IterableDataset.from_generator(
        good_examples,
        features=placed_features(layout),
        gen_kwargs={"opened": opened, "layout": layout, "drop": drop},
    )


def good_examples(opened: Opened, layout: Layout, drop: bool) -> Iterator[Example]:
    """The examples of a source. A bad row ends the run when it is met, unless bad rows are dropped."""
    for place, row in opened.rows():
        try:
            if isinstance(row, BadRow):
                raise row
            for example in canonical(row, layout):
                yield {**example, "source": opened.label, "place": place}
        except BadRow as bad:
            if not drop:
                raise DataError(f"{place}: {bad}. Correct the row, or write on_bad_rows: drop") from bad


def mixed(streams: Sequence[IterableDataset], weights: Sequence[float], seed: int) -> IterableDataset:
    """One stream that draws its next row from a source with a probability in proportion to its weight.

    It ends when every source was read once; those that end earlier start again.
    """
    if len(streams) == 1:
        return streams[0].shuffle(seed=seed, buffer_size=BUFFER)
    shares = [weight / sum(weights) for weight in weights]
    stream = interleave_datasets(list(streams), probabilities=shares, seed=seed, stopping_strategy="all_exhausted")
    return stream.shuffle(seed=seed, buffer_size=BUFFER)


def joined(streams: Sequence[IterableDataset]) -> IterableDataset | None:
    """One after the other, as evaluation takes them."""
    return concatenate_datasets(list(streams)) if streams else None

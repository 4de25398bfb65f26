"""Label noise for studies: a seeded fraction of the preferences turned round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset, concatenate_datasets

from alignkit.data.mix import Numbers, permutation


def drawn(rows: Numbers, fraction: float, seed: int) -> Numbers:
    """The fraction of the different rows that are turned round, ascending. A row that is repeated counts once."""
    different = np.unique(rows)
    return np.sort(different[permutation(len(different), seed, "noise")[: round(fraction * len(different))]])


def picked(dataset: Dataset, order: Numbers, noisy: Numbers) -> Dataset:
    """The rows of `order`, those in `noisy` turned round. Picks them from a turned view, so nothing is copied."""
    if not len(noisy):
        return dataset.select(order)
    both = concatenate_datasets([dataset, turned(dataset)])
    return both.select(np.where(np.isin(order, noisy), order + dataset.num_rows, order))


def turned(dataset: Dataset) -> Dataset:
    """chosen and rejected change places, with every column named after them; of unpaired rows the label changes."""
    names = dataset.column_names
    if "label" in names:
        labels = [None if label is None else not label for label in dataset["label"]]
        view = dataset.remove_columns("label").add_column("label", labels, feature=dataset.features["label"])
    else:
        view = dataset.rename_columns({name: counterpart(name, names) for name in names})
    return view.select_columns(names)


def counterpart(name: str, names: Sequence[str]) -> str:
    """score_chosen for score_rejected and the other way round; a name without a counterpart is its own."""
    for ours, theirs in (("chosen", "rejected"), ("rejected", "chosen")):
        other = name.replace(ours, theirs)
        if ours in name and other in names:
            return other
    return name

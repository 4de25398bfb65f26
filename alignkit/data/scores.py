"""Scores brought to one scale: mean 0 and deviation 1 over the training rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from alignkit.data.errors import DataError
from alignkit.data.mix import Numbers

logger = logging.getLogger(__name__)


def standardized(datasets: Sequence[Dataset], names: Sequence[str], order: Numbers) -> list[Dataset]:
    """The datasets with their columns `names` shifted and scaled together, so that differences keep their meaning.

    `order` are the rows of an epoch, numbered through the datasets: rows that are taken twice count twice, and rows
    that are not trained on do not count. Raises DataError where all scores are equal.
    """
    tables = [np.column_stack([dataset.data.column(name).to_numpy() for name in names]) for dataset in datasets]
    trained = np.concatenate(tables)[order]
    mean, deviation = float(trained.mean()), float(trained.std())
    if not deviation > 0:
        raise DataError(f"all scores of {', '.join(names)} are {mean}; remove normalize_scores")
    logger.info("scores %s: mean %g, standard deviation %g, brought to 0 and 1", ", ".join(names), mean, deviation)
    result = []
    for dataset, table in zip(datasets, tables, strict=True):
        for name, column in zip(names, ((table - mean) / deviation).T, strict=True):
            dataset = dataset.remove_columns(name).add_column(name, column, feature=dataset.features[name])
        result.append(dataset)
    return result

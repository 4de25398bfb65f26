"""The mathematics: one method per file, file name = recipe name. Imports torch only.

>>> import torch
>>> from alignkit.objectives import PairLogps, make
>>> objective = make("hdpo", alpha=0.9, beta=0.1)
>>> zeros = torch.zeros(2)
>>> objective.loss(PairLogps(chosen=zeros, rejected=zeros, ref_chosen=zeros, ref_rejected=zeros))
tensor(0.6931)
"""

from pathlib import Path
from typing import Any

from alignkit import lookup
from alignkit.objectives._base import (
    GroupObjective,
    Loss,
    Objective,
    PairObjective,
    RevisionObjective,
    RewardObjective,
    TokenObjective,
    UnpairedObjective,
)
from alignkit.objectives._batches import (
    Batch,
    GroupLogps,
    PairLogps,
    RevisionLogps,
    RewardScores,
    TokenLogps,
    UnpairedLogps,
)

__all__ = [
    "Batch",
    "GroupLogps",
    "GroupObjective",
    "Loss",
    "Objective",
    "PairLogps",
    "PairObjective",
    "RevisionLogps",
    "RevisionObjective",
    "RewardObjective",
    "RewardScores",
    "TokenLogps",
    "TokenObjective",
    "UnpairedLogps",
    "UnpairedObjective",
    "find",
    "make",
    "names",
]


def names() -> list[str]:
    """Names of the objectives that ship with alignkit."""
    return lookup.names(__name__)


def find(name: str, folder: Path | None = None) -> type[Objective]:
    """Class of an objective: a shipped name, or a dotted path to your own. ValueError suggests the nearest name."""
    return lookup.find(__name__, Objective, name, folder)


def make(name: str, **hyperparameters: Any) -> Objective:
    """An objective by name; ValueError on a bad name, an unknown hyperparameter, a wrong type or range."""
    return lookup.construct(find(name), hyperparameters)

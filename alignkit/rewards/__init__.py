"""Rewards: rules that combine the scores of several members, and what the best of n answers is worth.

>>> import torch
>>> from alignkit.rewards import make
>>> scores = torch.tensor([[1.0, 2.0], [3.0, 2.0]])  # two members, two answers
>>> make("uncertainty_weighted", coefficient=0.5)(scores)
tensor([1.5000, 2.0000])
"""

from pathlib import Path
from typing import Any

from alignkit import lookup
from alignkit.rewards._best_of_n import best_of_each, best_of_n, kl_bound
from alignkit.rewards._combine import Combine
from alignkit.rewards._reward import Reward, RewardError

__all__ = ["Combine", "Reward", "RewardError", "best_of_each", "best_of_n", "find", "kl_bound", "make", "names"]

RULES = "alignkit.rewards.combine"


def names() -> list[str]:
    """Names of the rules that ship with alignkit."""
    return lookup.names(RULES)


def find(name: str, folder: Path | None = None) -> type[Combine]:
    """Class of a rule: a shipped name, or a dotted path to your own. ValueError suggests the nearest name."""
    return lookup.find(RULES, Combine, name, folder)


def make(name: str, **hyperparameters: Any) -> Combine:
    """A rule by name; ValueError on a bad name, an unknown hyperparameter, a wrong type or range."""
    return lookup.construct(find(name), hyperparameters)

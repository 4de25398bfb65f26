"""Rules: rewards computed from an answer's text and the data's columns, without a model.

>>> from alignkit.rewards import rules
>>> rules.make("exact_match")(["2 + 2?", "2 + 2?"], ["4", "5"], answer=["4", "4"])
tensor([1., 0.])
"""

from pathlib import Path
from typing import Any

from alignkit import lookup
from alignkit.rewards._rule import Rule

__all__ = ["Rule", "find", "make", "names"]


def names() -> list[str]:
    """Names of the rules that ship with alignkit."""
    return lookup.names(__name__)


def find(name: str, folder: Path | None = None) -> type[Rule]:
    """Class of a shipped rule. ValueError suggests the nearest name."""
    return lookup.find(__name__, Rule, name, folder)


def make(name: str, **hyperparameters: Any) -> Rule:
    """A rule by name; ValueError on a bad name, an unknown hyperparameter, a wrong type or range."""
    return lookup.construct(find(name), hyperparameters)

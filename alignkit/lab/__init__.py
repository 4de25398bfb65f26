"""The lab: objectives run to their optimum on problems small enough to be solved exactly, beside what theory says.

It calls the same objective objects as the trainers. One experiment a file; file name = name on the command line.

>>> from alignkit import lab
>>> lab.make("behavior", beta=0.5).run().holds
True
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from alignkit import lookup
from alignkit.lab._experiment import Claim, Experiment, Result, construct

__all__ = ["Claim", "Experiment", "Result", "find", "make", "names"]


def names() -> list[str]:
    """Names of the experiments."""
    return lookup.names(__name__)


def find(name: str) -> type[Experiment]:
    """Class of an experiment by name, or by a dotted path to one of your own; ValueError suggests the nearest name."""
    return lookup.find(__name__, Experiment, name)


def make(name: str, full: bool = False, **settings: Any) -> Experiment:
    """An experiment by name, quick unless `full`; where several numbers are wanted, one will do.

    Raises:
        ValueError: a bad name, an unknown setting, or a value of the wrong type.
    """
    return construct(find(name), full, settings)


def make_all(full: bool = False, **settings: Any) -> Mapping[str, Experiment]:
    """Every experiment; each takes those of the settings that it has. ValueError on a setting that none has."""
    known = {name: {field.name for field in fields(find(name))} for name in names()}
    every = sorted(set().union(*known.values()))
    for key in settings:
        if key not in every:
            raise ValueError(f"no experiment has {key!r}{lookup.did_you_mean(key, every)}")
    return {
        name: make(name, full, **{key: value for key, value in settings.items() if key in keys})
        for name, keys in known.items()
    }

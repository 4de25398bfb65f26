"""Experiments that train models. A study is an `Experiment` of the lab; file name = name on the command line."""

from typing import Any

from alignkit import lookup
from alignkit.lab import Experiment
from alignkit.lab._experiment import construct

__all__ = ["find", "make", "names"]

NO_STUDIES = {
    "bench",
    "bench_step",
    "demo",
    "flops",
    "memory",
    "soak",
}  # files here that are run by commands of their own


def names() -> list[str]:
    """Names of the studies."""
    return [name for name in lookup.names(__name__) if name not in NO_STUDIES]


def find(name: str) -> type[Experiment]:
    """Class of a study by name, or by a dotted path to one of your own; ValueError suggests the nearest name."""
    return lookup.find(__name__, Experiment, name)


def make(name: str, full: bool = False, **settings: Any) -> Experiment:
    """A study by name, quick unless `full`; ValueError on a bad name, an unknown setting, or a wrong value."""
    return construct(find(name), full, settings)

"""Running experiments from the command line: settings, the table, the claims, the files. For `lab` and `study`."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from alignkit.lab import Experiment

CLAIM_FAILED = 1


def settings_of(pairs: Sequence[str]) -> Mapping[str, Any]:
    """{key: value}; values are JSON, several with commas between them, or else text."""
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"{pair!r} is no setting; write key=value, such as starts=5")
        settings[key] = _value(value)
    return settings


def run_all(experiments: Sequence["Experiment"], out: Path) -> None:
    """Run them one after the other; exit code 1 where a claim does not hold."""
    held = [_run(experiment, out) for experiment in experiments]
    if not all(held):
        sys.exit(CLAIM_FAILED)


def describe(name: str, cls: type["Experiment"]) -> str:
    """What an experiment claims, and its settings."""
    from dataclasses import fields
    from inspect import cleandoc

    settings = " ".join(f"{field.name}={_written(field.default)}" for field in fields(cls))
    full = " ".join(f"{key}={_written(value)}" for key, value in cls.full.items())
    text = cleandoc(cls.__doc__ or "").split("\n\n")[0]
    lines = _indented(text, f"settings: {settings}", f"--full: {full or 'same'}")
    return "\n".join([click.style(name, bold=True), *lines])


def _value(text: str) -> Any:
    for candidate in (text, f"[{text}]"):
        try:
            return json.loads(candidate)
        except json.JSONDecodeError:
            continue
    return text


def _run(experiment: "Experiment", out: Path) -> bool:
    """Run one experiment, print it, write its files; whether all its claims hold."""
    from rich.console import Console

    from alignkit.lab import _report

    # as wide as the table wants where nobody looks: a file or a pipe must not wrap numbers
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    started = time.monotonic()
    with Console(stderr=True).status(f"{type(experiment).__name__} ..."):
        result = experiment.run()
    seconds = time.monotonic() - started
    console.print(_report.table(experiment, result))
    for line in _report.claims(result):
        console.print(line, markup=False)
    numbers, picture = _report.save(experiment, result, out, seconds)
    console.print(f"{numbers} and {picture.name}, {seconds:.0f} s\n", markup=False)
    return result.holds


def _written(value: Any) -> str:
    """A setting as one types it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _indented(*texts: str) -> list[str]:
    return [f"    {line}" for text in texts for line in text.splitlines()]

"""`alignkit lab list`, `alignkit lab run NAME|all [--quick|--full] [key=value ...]`"""

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


@click.group(name="lab")
def command() -> None:
    """Run objectives to their optimum on problems that can be solved exactly, and compare with theory."""


@command.command(name="list")
def list_experiments() -> None:
    """Show the experiments: what each claims, and the settings that KEY=VALUE changes."""
    from alignkit import lab

    click.echo("\n\n".join(_describe(name, lab.find(name)) for name in lab.names()))


@command.command(name="run")
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--full/--quick", default=False, help="The complete run of the documentation, or a short one (default).")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/lab"), show_default=True)
def run(name: str, settings: tuple[str, ...], full: bool, out: Path) -> None:
    """Run experiment NAME, or all: a table, the claims, NAME.json and NAME.png in --out.

    Exit code 1: a claim does not hold. KEY=VALUE changes a setting: starts=5 taus=0.1,1 (with all, of every experiment
    that has it).
    """
    from alignkit.cli._errors import user_errors

    with user_errors():
        experiments = _experiments(name, full, settings)
        held = [_run(experiment, out) for experiment in experiments]
    if not all(held):
        sys.exit(CLAIM_FAILED)


def _experiments(name: str, full: bool, settings: Sequence[str]) -> list["Experiment"]:
    from alignkit import lab

    given = _settings(settings)
    return list(lab.make_all(full, **given).values()) if name == "all" else [lab.make(name, full, **given)]


def _settings(pairs: Sequence[str]) -> Mapping[str, Any]:
    """{key: value}; values are JSON, several with commas between them, or else text."""
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"{pair!r} is no setting; write key=value, such as starts=5")
        settings[key] = _value(value)
    return settings


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
    console.print(_report.table(result))
    for line in _report.claims(result):
        console.print(line, markup=False)
    numbers, picture = _report.save(experiment, result, out, seconds)
    console.print(f"{numbers} and {picture.name}, {seconds:.0f} s\n", markup=False)
    return result.holds


def _describe(name: str, cls: type["Experiment"]) -> str:
    from dataclasses import fields
    from inspect import cleandoc

    settings = " ".join(f"{field.name}={_written(field.default)}" for field in fields(cls))
    full = " ".join(f"{key}={_written(value)}" for key, value in cls.full.items())
    text = cleandoc(cls.__doc__ or "").split("\n\n")[0]
    lines = _indented(text, f"settings: {settings}", f"--full: {full or 'same'}")
    return "\n".join([click.style(name, bold=True), *lines])


def _written(value: Any) -> str:
    """A setting as one types it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _indented(*texts: str) -> list[str]:
    return [f"    {line}" for text in texts for line in text.splitlines()]

"""A result on paper: a table for the terminal, a picture, a JSON file."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from alignkit import __version__
from alignkit.lab._experiment import Experiment, Result, Row


def table(experiment: Experiment, result: Result) -> Table:
    """The rows that the experiment shows, for rich to print."""
    rows = experiment.shown(result.rows)
    printed = Table(title=result.experiment, title_style="bold")
    for name in rows[0]:
        number = any(isinstance(row[name], int | float) for row in rows)
        printed.add_column(name.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in rows:
        printed.add_row(*map(_cell, row.values()))
    return printed


def claims(result: Result) -> list[str]:
    """A line for each claim: whether it holds, what it says, what was measured."""
    return [f"{'holds' if claim.holds else 'FAILS'}  {claim.text}: {_cell(claim.measured)}" for claim in result.claims]


def save(experiment: Experiment, result: Result, folder: Path, seconds: float) -> tuple[Path, Path]:
    """Write `<experiment>.json` and `<experiment>.png` into `folder`; returns the two paths."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers, picture = (folder / f"{result.experiment}.{ending}" for ending in ("json", "png"))
    numbers.write_text(json.dumps({**asdict(result), **_circumstances(seconds)}, indent=1) + "\n")
    draw(experiment, result.rows).savefig(picture, dpi=120)
    return numbers, picture


def draw(experiment: Experiment, rows: Sequence[Row]) -> Figure:
    """The experiment's picture of its rows."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    experiment.draw(figure, rows)
    return figure


def _circumstances(seconds: float) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "alignkit": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)

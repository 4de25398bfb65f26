"""A picture of a terminal, for documentation."""

import re
from pathlib import Path

from rich.console import Console

WIDTH = 110  # characters


def check(file: Path | None) -> None:
    """Refuse a file that cannot be written, before anything runs for minutes.

    Raises:
        ValueError: it is no SVG, or its folder is not there.
    """
    if file is None:
        return
    if file.suffix != ".svg":
        raise ValueError(f"{file} should end in .svg, since a recording is one")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"no folder {file.absolute().parent} for the recording; make it, or name another file")


def console(file: Path | None) -> Console:
    """A console that prints as always, and remembers what it printed where `file` is given."""
    return Console(highlight=False) if file is None else Console(highlight=False, record=True, width=WIDTH)


def save(console: Console, file: Path, title: str) -> None:
    """Draw what was printed. rich names fonts on a server, which are left out: the viewer's own will do."""
    drawn = console.export_svg(title=title)
    file.write_text(re.sub(r"@font-face\s*{.*?}", "", drawn, flags=re.DOTALL), encoding="utf-8")

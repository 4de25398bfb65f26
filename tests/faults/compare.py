"""`python -m tests.faults.compare`: the same faults done to alignkit and to plain TRL, as a table."""

import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.faults import sides
from tests.faults.scenarios import FAULTS, suffer


def row(name: str, cells: Sequence[object]) -> str:
    return f"| {name} | {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print a row when it is measured."""
    place = Path(tempfile.mkdtemp(prefix="compare-"))
    print(row("done to it", [f"{name} {version(name.lower())}" for name in sides.SIDES]))
    print("|---" * (len(sides.SIDES) + 1) + "|")
    for side in sides.SIDES:
        assert sides.run(side, place / side / "whole") == 0, f"{side} cannot train: see {place}"
    for name, fault in FAULTS.items():
        cells = [suffer(side, fault, place / side / "whole", place / side / name) for side in sides.SIDES]
        print(row(name, cells), flush=True)


if __name__ == "__main__":
    main()

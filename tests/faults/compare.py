"""`python -m tests.faults.compare`: the same faults done to alignkit and to plain TRL, as a table."""

import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path

from tests.faults import sides
from tests.faults.scenarios import FAULTS, Fault, Outcome, killed_in_save, suffer

APART = 4  # writes of a save, between those at which runs are killed


def row(name: str, cells: Sequence[object]) -> str:
    return f"| {name} | {' | '.join(map(str, cells))} |"


def in_saves(side: str, whole: Path, place: Path) -> str:
    """Kill a run at the first write of a save, at the fifth, and so on; how many of these can be resumed exactly."""
    found: list[Outcome] = []
    for write in count(1, APART):
        fault = Fault(name="", strike=partial(killed_in_save, write))
        outcome = suffer(side, fault, whole, place / f"write-{write}")
        if outcome.ended == 0:
            break
        found.append(outcome)
    failed = [one.said.split(":")[0] for one in found if one.resumed]
    exact = sum(one.weights for one in found)
    why = f"; else {', '.join(sorted({*failed}))}" if failed else ""
    return f"{exact} of {len(found)} go on exactly{why}"


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
    cells = [in_saves(side, place / side / "whole", place / side) for side in sides.SIDES]
    print(row(f"SIGKILL at every {APART}th write of the save of step 6, one after the other", cells))


if __name__ == "__main__":
    main()

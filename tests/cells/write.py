"""Adds new results to those that are kept, and to the page: `python -m tests.cells.write NEW.jsonl`, from the root."""

import sys
from pathlib import Path

from tests.cells.table import PAGE, RESULTS, lines, page, read


def main(new: Path) -> None:
    rows = [*read(RESULTS), *read(new)]
    RESULTS.write_text(lines(rows), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

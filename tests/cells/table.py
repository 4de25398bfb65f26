"""What runs where, as tests said when they ran last: the rows of results, and the tables of the documentation.

A test marked `cell(trainer=..., distribution=..., parameters=..., device=...)` fills a cell. `make cells` runs those
that this machine can run, and brings results.jsonl and docs/clusters.md up to date.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

RESULTS = Path(__file__).with_name("results.jsonl")
PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"
START, END = "<!-- what ran: written by make cells -->\n", "<!-- end of what ran -->\n"

CHOICES = {  # of a cell, in the order of the tables
    "trainer": ("SFT", "pairs", "KTO", "SRPO", "reward", "RL"),
    "parameters": ("full", "LoRA", "QLoRA"),
    "distribution": ("one process", "DDP", "ZeRO-2", "ZeRO-3", "FSDP2", "vLLM colocated", "vLLM server"),
}
STATUS = ("failed", "equal", "trains")  # where several tests ran together: a failure counts, then the larger claim
CPU = "CPU"  # any other device is a GPU, by its name

Row = Mapping[str, str]  # trainer, distribution, parameters, device, status, date, commit
Cell = tuple[str, ...]


def check(row: Row) -> None:
    """Refuse a cell that the tables do not have. ValueError names those that they have."""
    for name, known in CHOICES.items():
        if row.get(name) not in known:
            raise ValueError(f"cell({name}={row.get(name)!r}): choose from {', '.join(known)}")


def latest(rows: Iterable[Row]) -> dict[Cell, Row]:
    """{(CPU or GPU, trainer, parameters, distribution): what its last run said}, from rows in the order of time."""
    found: dict[Cell, Row] = {}
    for row in rows:
        check(row)
        if row["status"] not in STATUS:  # a test that was skipped says nothing
            continue
        cell = ("CPU" if row["device"] == CPU else "GPU", *(row[name] for name in CHOICES))
        before = found.get(cell)
        together = before is not None and (before["date"], before["commit"]) == (row["date"], row["commit"])
        if not together or STATUS.index(row["status"]) < STATUS.index(before["status"]):
            found[cell] = row
    return dict(sorted(found.items(), key=lambda item: _place(item[0])))


def _place(cell: Cell) -> tuple[bool, list[int]]:
    return cell[0] != CPU, [known.index(part) for known, part in zip(CHOICES.values(), cell[1:], strict=True)]


def read(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def lines(rows: Iterable[Row]) -> str:
    """The last row of every cell, as the file holds them."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in latest(rows).values())


def table(rows: Iterable[Row], kind: str) -> str:
    """The table of "CPU" or "GPU", without columns and kinds of parameters that never ran, which are named below it."""
    found = {cell[1:]: row for cell, row in latest(rows).items() if cell[0] == kind}
    if not found:
        return f"No test has run on a {kind}.\n"
    ran = {
        name: [one for one in known if any(row[name] == one for row in found.values())]
        for name, known in CHOICES.items()
    }
    written = [["trainer", *ran["distribution"]], ["---"] * (1 + len(ran["distribution"]))]
    for trainer in CHOICES["trainer"]:
        for parameters in ran["parameters"]:
            cells = [_shown(found.get((trainer, parameters, where))) for where in ran["distribution"]]
            written.append([f"{trainer}, {parameters}", *cells])
    never = [one for name, known in CHOICES.items() for one in known if one not in ran[name]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in written)
    return text + (f"\nNever run on a {kind}: {', '.join(never)}.\n" if never else "")


def _shown(row: Row | None) -> str:
    if row is None:
        return "not run"
    device = "" if row["device"] == CPU else f"{row['device']}, "
    return f"{row['status']}, {device}{row['date']}, `{row['commit']}`"


def page(text: str, rows: Iterable[Row]) -> str:
    """The page with the tables between its markers. ValueError where it has none."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"no place for the tables: write {START.strip()} and {END.strip()} on lines of their own")
    kept = list(rows)
    return f"{before}{start}\n### On CPUs\n\n{table(kept, 'CPU')}\n### On GPUs\n\n{table(kept, 'GPU')}\n{end}{after}"

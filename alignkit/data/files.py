"""Readers of local files: JSONL, JSON, CSV, Parquet and Arrow, row by row, each row with its place.

JSONL and CSV are read here and not by `datasets`: its readers guess types, so that a column of answers such as
2020-01-01 or NA silently becomes dates or nothing, and they do not say which line is broken.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from alignkit.data.errors import BadRow, DataError
from alignkit.data.images import undecoded

Rows = Iterator[tuple[str, dict[str, Any] | BadRow]]  # (place, row): ("pairs.jsonl:12", {...})

UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
NO_TEXT = "the file is damaged, or no UTF-8 text"


def read_file(path: Path, label: str, split: str = "train") -> Rows:
    """The rows of one file. `label` is what messages call it. Raises DataError if the file as a whole is unusable."""
    if path.suffix not in READERS:
        raise DataError(f"{label}: no reader for {path.suffix or 'a file without an ending'}; use {', '.join(READERS)}")
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if not start.removeprefix(UTF8_MARK).strip():
            raise_if_blank(path, label)
        yield from READERS[path.suffix](path, label, split)
    except OSError as error:
        raise DataError(f"{label} cannot be read: {error.strerror or error}") from error


def raise_if_blank(path: Path, label: str) -> None:
    """Text files may hold nothing but blank lines; a binary file never starts with four blanks."""
    with path.open("rb") as file:
        if not any(line.removeprefix(UTF8_MARK).strip() for line in file):
            raise DataError(f"{label} is empty; give a file that holds at least one row")


def decoded(path: Path, label: str) -> Iterator[tuple[int, str | BadRow]]:
    """Lines of a UTF-8 file with their numbers. Only a line feed ends a line: JSON strings may hold U+2028."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                if line.startswith(UTF16_MARKS):
                    raise DataError(f"{label} is UTF-16; save it as UTF-8")
                line = line.removeprefix(UTF8_MARK)
            if b"\0" in line:
                yield number, BadRow("NUL byte", f"at {line.index(0) + 1}; {NO_TEXT}")
                continue
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                yield number, BadRow("not UTF-8", f"byte {error.object[error.start]:#04x} at {error.start + 1}")


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises BadRow where it has a key twice, of which Python keeps the last in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRow("duplicate key", f"{twice!r:.40} is written twice in one object")
    return found


def parsed(text: str) -> Any:
    """`json.loads` whose every failure is a BadRow."""
    try:
        return json.loads(text, object_pairs_hook=distinct)
    except BadRow:
        raise
    except json.JSONDecodeError as error:
        raise BadRow("broken JSON", where_broken(error)) from error
    except RecursionError as error:
        raise BadRow("broken JSON", "brackets are nested too deeply") from error
    except ValueError as error:
        raise BadRow("broken JSON", "a number has too many digits") from error


def where_broken(error: json.JSONDecodeError) -> str:
    return f"{error.msg.removesuffix(' at')} at column {error.colno}"  # some of its messages end so


def as_object(value: Any) -> dict[str, Any] | BadRow:
    if isinstance(value, dict):
        return value
    return BadRow("not an object", f"a row is written {{...}}, and this is a JSON {type(value).__name__}")


def read_jsonl(path: Path, label: str, split: str) -> Rows:
    for number, line in decoded(path, label):
        place = f"{label}:{number}"
        if isinstance(line, BadRow):
            yield place, line
        elif line.strip():
            try:
                yield place, as_object(parsed(line.rstrip()))
            except BadRow as bad:
                yield place, bad


def read_json(path: Path, label: str, split: str) -> Rows:
    """One JSON document, held in memory: a list of rows, or lists of rows by split, or JSON lines under this name."""
    data = path.read_bytes()
    if data.startswith(UTF16_MARKS):
        raise DataError(f"{label} is UTF-16; save it as UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(0)) + 1
        raise DataError(f"{label}:{line}: NUL byte: {NO_TEXT}")
    try:
        document = json.loads(data.removeprefix(UTF8_MARK).decode("utf-8"), object_pairs_hook=distinct)
    except BadRow as bad:
        raise DataError(f"{label}: {bad}") from bad
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{label}:{line}: not UTF-8: byte {data[error.start]:#04x}; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # a second document follows the first
            yield from read_jsonl(path, label, split)
            return
        raise DataError(f"{label}:{error.lineno}: broken JSON: {where_broken(error)}") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{label}: broken JSON: nested too deeply, or a number of too many digits") from error
    for number, row in enumerate(listed(document, label, split), start=1):
        yield f"{label} row {number}", as_object(row)


def listed(document: Any, label: str, split: str) -> list[Any]:
    """The list of rows inside a JSON document."""
    lists = document if isinstance(document, dict) else {"train": document}
    rows = lists.get(split, lists.get("data") if split == "train" else None)
    if isinstance(rows, list):
        return rows
    if split != "train":
        raise DataError(f"{label} has no split {split!r}; it has {', '.join(lists) or 'none'}")
    if not isinstance(document, dict):
        raise DataError(f"{label} holds no rows; write [{{...}}, {{...}}], or one {{...}} a line in a .jsonl file")
    columns = list(document.values())
    if columns and all(isinstance(column, list) for column in columns) and not holds_objects(columns):
        raise DataError(f"{label} holds a list for each column; write a list of rows, [{{...}}, {{...}}]")
    return [document]


def holds_objects(lists: list[list[Any]]) -> bool:
    return any(isinstance(item, dict) for items in lists for item in items)


def read_csv(path: Path, label: str, split: str) -> Rows:
    csv.field_size_limit(2**31 - 1)  # the default refuses answers over 128 KiB; a C long on Windows holds no more
    damaged: dict[int, BadRow] = {}
    lines = csv.reader(replaced(path, label, damaged), strict=True)
    try:
        header = next(lines, [])
    except csv.Error as error:
        raise DataError(f"{label}:1: broken CSV: {error}") from error
    if 1 in damaged:
        raise DataError(f"{label}:1: {damaged[1]}; save the file as UTF-8")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise DataError(f"{label}:1: one column named {header[0]!r:.60}; separate columns by commas")
    refuse_repeated(header, f"{label}:1")
    while True:
        start = lines.line_num + 1
        try:
            cells = next(lines, None)
        except csv.Error as error:
            yield f"{label}:{start}", BadRow("broken CSV", str(error))
            continue
        if cells is None:
            return
        bad = next((damaged[line] for line in range(start, lines.line_num + 1) if line in damaged), None)
        if bad is None and cells and len(cells) != len(header):
            bad = BadRow("wrong number of cells", f"{len(cells)} where the header has {len(header)}")
        if cells:
            yield f"{label}:{start}", bad or dict(zip(header, cells, strict=True))


def refuse_repeated(names: list[str], where: str) -> None:
    if len(set(names)) < len(names):
        raise DataError(f"{where}: two columns have the same name: {', '.join(names)}")


def replaced(path: Path, label: str, damaged: dict[int, BadRow]) -> Iterator[str]:
    """Lines for the CSV reader, which would end at an exception: undecodable lines are noted and stand empty."""
    for number, line in decoded(path, label):
        if isinstance(line, BadRow):
            damaged[number] = line
            line = "?\n"
        yield line


def read_parquet(path: Path, label: str, split: str) -> Rows:
    number = 0
    try:
        file = pq.ParquetFile(path)
        refuse_repeated(file.schema_arrow.names, label)
        for batch in file.iter_batches(batch_size=256):
            for row in batch.to_pylist():
                number += 1
                yield f"{label} row {number}", row
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # times beyond the year 9999
        raise DataError(f"{label} is no whole Parquet file (after row {number}): {short(error)}") from error


def read_arrow(path: Path, label: str, split: str) -> Rows:
    try:
        dataset = undecoded(Dataset.from_file(str(path)))
        dataset.data.validate(full=True)  # a damaged offset would be read outside the file
        rows = enumerate(dataset, start=1)
        yield from ((f"{label} row {number}", row) for number, row in rows)
    except Exception as error:  # datasets trusts the file's metadata, and fails in as many ways as those hold
        raise DataError(f"{label} is no whole Arrow file: {short(error)}") from error


def short(error: BaseException) -> str:
    """The first line of another library's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


READERS: dict[str, Callable[[Path, str, str], Rows]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}

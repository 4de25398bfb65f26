"""Files of one JSON object a line, written as rows come; a process may be killed while it writes."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from alignkit.evaluation.errors import EvaluationError

Row = dict[str, Any]


def read(file: Path) -> list[Row]:
    """The rows of a file that people or other programs write.

    Raises:
        EvaluationError: no such file, or a line that is no JSON object, with its place.
    """
    if not file.is_file():
        raise EvaluationError(f"there is no file {file}")
    return _rows(file, file.read_bytes())


def resume(file: Path) -> list[Row]:
    """The rows of a file that `append` writes, without a last line that a killed process left unfinished.

    No file: no rows.
    """
    if not file.is_file():
        return []
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    return _rows(file, whole)


def append(file: Path, row: Mapping[str, Any]) -> None:
    """Add a row and see it on the disk; a line that a killed process left unfinished is cut off first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as opened:
        _cut_unfinished(opened)
        opened.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        opened.flush()
        os.fsync(opened.fileno())


def replace(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write all rows anew; the file is the old or the new one, never in between."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    with partial.open("w", encoding="utf-8") as opened:
        opened.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.replace(file)


def _cut_unfinished(opened: BinaryIO) -> None:
    """Cut off a last line without an end, which is there once after a kill; else one byte is read."""
    size = opened.seek(0, os.SEEK_END)
    if size:
        opened.seek(size - 1)
        if opened.read() != b"\n":
            opened.seek(0)
            opened.truncate(opened.read().rfind(b"\n") + 1)


def _rows(file: Path, content: bytes) -> list[Row]:
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}") from None
    return [_row(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _row(file: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise EvaluationError(f"{file}:{number} is no JSON: {error.msg}") from None
    if not isinstance(row, dict):
        raise EvaluationError(f"{file}:{number} is no JSON object")
    return row

"""Numbers that are kept in a file of their own, joined to the rows of a source by their order or by a shared column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.data.errors import BadRow, DataError
from alignkit.data.files import Rows, read_file

BY_ORDER = "row"  # the n-th rating is of the n-th row


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """The rows of a ratings file, in their order or by the text of their key."""

    label: str
    by: str  # BY_ORDER, or the column that rows and ratings share
    found: Mapping[Any, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path, label: str, by: str) -> Ratings:
        """Read a file of any kind that rows are read from. Raises DataError."""
        found: dict[Any, Mapping[str, Any]] = {}
        for number, (place, row) in enumerate(read_file(path, label)):
            if isinstance(row, BadRow):
                raise DataError(f"{place}: {row}")
            if by != BY_ORDER and row.get(by) is None:
                raise DataError(f"{place} has no {by!r}, by which ratings find their rows; it has {', '.join(row)}")
            key = number if by == BY_ORDER else str(row[by])
            if key in found:
                raise DataError(f"{place} is a second rating of {by} = {key}; keep one of them")
            found[key] = row
        return cls(label=label, by=by, found=found)

    def joined(self, rows: Rows) -> Rows:
        """The rows with their ratings beside them; one without a rating is a BadRow.

        Raises:
            DataError: a column is in both, or there are more ratings than rows to take them in order.
        """
        number = -1
        for number, (place, row) in enumerate(rows):
            yield place, row if isinstance(row, BadRow) else self._with_rating(row, number)
        if self.by == BY_ORDER and len(self.found) > number + 1:
            raise DataError(f"{self.label} holds {len(self.found)} ratings for {number + 1} rows; is it of these rows?")

    def _with_rating(self, row: Mapping[str, Any], number: int) -> dict[str, Any] | BadRow:
        key = number if self.by == BY_ORDER else str(row.get(self.by))
        if key not in self.found:
            what = f"row {number + 1}" if self.by == BY_ORDER else f"{self.by} = {key}"
            return BadRow("no rating", f"{self.label} has none of {what}")
        return {**row, **dict(self._numbers(row, self.found[key]))}

    def _numbers(self, row: Mapping[str, Any], rating: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in rating.items():
            if name == self.by:
                continue
            if name in row:
                raise DataError(f"{self.label} and its rows both have a column {name!r}; rename or remove one")
            yield name, value

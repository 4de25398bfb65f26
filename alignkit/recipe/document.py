"""A recipe as read: plain data, and for every key and value the place it was written."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from alignkit.recipe.problems import KeyPath, Problem, dotted, printable
from alignkit.redaction import assigns_secret

Part = Literal["key", "value"]  # which side of `key: value` a problem is about


@dataclass(frozen=True)
class Mark:
    """A place: a stretch of one line of a file, or an override."""

    origin: str  # name of the file, or "override 'key=value'"
    line: int | None = None  # counted from 1
    column: int = 0  # counted from 0
    width: int = 0  # characters
    source: str = ""  # the whole line

    def excerpt(self) -> str:
        if self.line is None or not self.source.isprintable() or len(self.source) > 120 or assigns_secret(self.source):
            return ""
        margin = f"{self.line:>5} | "
        carets = "^" * max(1, min(self.width, len(self.source) - self.column))
        return f"{margin}{self.source}\n{' ' * (len(margin) - 2)}| {' ' * self.column}{carets}"


@dataclass
class Document:
    """Plain data with marks. `None` stands for null; keys are always text."""

    name: str
    data: Any = None
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    values: dict[KeyPath, Mark] = field(default_factory=dict)

    def mark(self, path: KeyPath, part: Part = "key") -> Mark:
        """Where `path` was written; the nearest enclosing key where it was not."""
        while path:
            if part == "value" and path in self.values:
                return self.values[path]
            if path in self.keys:
                return self.keys[path]
            path, part = path[:-1], "key"
        return Mark(self.name)

    def put(self, path: KeyPath, value: Any, mark: Mark) -> None:
        """Write a value at a path whose parent exists, and forget the marks of what was there."""
        parent = self.data
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = value
        for marks in (self.keys, self.values):
            for old in [old for old in marks if old[: len(path)] == path]:
                del marks[old]
            marks[path] = mark


class Report:
    """Collects the problems of a document, at most `LIMIT` of them."""

    LIMIT = 100

    def __init__(self, document: Document) -> None:
        self.document = document
        self._problems: list[Problem] = []
        self._more = 0

    @property
    def full(self) -> bool:
        """Whether further problems are only counted, so that nobody need look for a good message."""
        return len(self._problems) >= self.LIMIT

    def add(self, path: KeyPath, what: str, instead: str = "", part: Part = "key") -> None:
        mark = self.document.mark(path, part)
        self.add_at(mark, what, instead, where=dotted(path))

    def add_at(self, mark: Mark, what: str, instead: str = "", where: str = "") -> None:
        if self.full:
            self._more += 1
            return
        problem = Problem(
            file=mark.origin,
            line=mark.line,
            where=printable(where),
            what=printable(what),
            instead=printable(instead),
            excerpt=mark.excerpt(),
        )
        if problem not in self._problems:
            self._problems.append(problem)

    def touches(self, section: str) -> bool:
        """Whether something is wrong in a section."""
        return any(problem.where.split(".")[0] == section for problem in self._problems)

    def problems(self) -> Iterator[Problem]:
        """In the order of the file, then the overrides."""
        own = self.document.name
        yield from sorted(self._problems, key=lambda p: (p.file != own, p.line or 0))
        if self._more:
            yield Problem(file=own, what=f"and {self._more} more problems", instead="correct those above first")

    def __bool__(self) -> bool:
        return bool(self._problems)

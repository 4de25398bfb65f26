"""YAML text to plain data with marks: strict, safe and bounded.

Only the parser of ruamel.yaml is used. Its events become data here, because a recipe wants the core schema of YAML 1.2
(`5e-7` is a number; `yes` and `2024-01-01` are text), no tags, no duplicate keys, no merge keys, and limits that hold
before anything is built.
"""

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from alignkit.recipe.document import Document, Mark, Report
from alignkit.recipe.problems import KeyPath, RecipeError, dotted, shown_key

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 20_000  # values, after aliases are followed: a few lines of aliases can stand for billions
MAX_ALIASES = 50
MAX_INTEGER_DIGITS = 30  # longer runs of digits are text; int() refuses thousands of them

_NULL = re.compile(r"(~|null|Null|NULL|)\Z")
_TRUE = re.compile(r"(true|True|TRUE)\Z")
_FALSE = re.compile(r"(false|False|FALSE)\Z")
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"([-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


def read_yaml(text: str, name: str) -> tuple[Document, Report]:
    """Data and marks of one YAML document. What can be read past (a duplicate key) is in the report.

    Raises:
        RecipeError: the text is not YAML, or exceeds a limit; nothing more can be said about it.
    """
    document = Document(name)
    report = Report(document)
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        report.add((), f"is larger than {MAX_BYTES // 1024} KiB", "a recipe is a page; keep data in files of their own")
        raise RecipeError(report.problems())
    reader = _Reader(text, document, report)
    try:
        reader.read()
    except _Refused as refused:
        report.add_at(refused.mark, refused.what, refused.instead)
        raise RecipeError(report.problems()) from None
    except MarkedYAMLError as error:
        mark = reader.mark(error.problem_mark or error.context_mark)
        report.add_at(mark, f"not valid YAML: {_reason(error)}", _advice(mark))
        raise RecipeError(report.problems()) from None
    except ReaderError as error:
        mark = Mark(name, text.count("\n", 0, error.position) + 1)
        report.add_at(mark, f"contains the character U+{ord(text[error.position]):04X}", "remove it; YAML forbids it")
        raise RecipeError(report.problems()) from None
    except YAMLError as error:
        report.add((), f"not valid YAML: {' '.join(str(error).split())}")
        raise RecipeError(report.problems()) from None
    except (ValueError, OverflowError):  # chr() of what the parser read
        report.add((), "not valid YAML: an escape such as \\U00110000 is no character", "write the character itself")
        raise RecipeError(report.problems()) from None
    return document, report


def scalar(text: str) -> Any:
    """Value of an unquoted YAML scalar."""
    if _NULL.match(text):
        return None
    if _TRUE.match(text) or _FALSE.match(text):
        return bool(_TRUE.match(text))
    if len(text) <= MAX_INTEGER_DIGITS:
        if _INTEGER.match(text):
            return int(text)
        if _BASED.match(text):
            return int(text, 0)
    if _SPECIAL.match(text):
        return float(text.replace(".", ""))
    if _FLOAT.match(text) and not _INTEGER.match(text):
        return float(text)
    return text


class _Refused(Exception):
    def __init__(self, mark: Mark, what: str, instead: str) -> None:
        self.mark, self.what, self.instead = mark, what, instead


class _Reader:
    """Builds a document from parser events, depth first."""

    def __init__(self, text: str, document: Document, report: Report) -> None:
        self.lines = text.split("\n")
        self.document = document
        self.report = report
        self.events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self.anchors: dict[str, Any] = {}
        self.nodes = 0
        self.aliases = 0

    def read(self) -> None:
        for event in self.events:
            if isinstance(event, events.DocumentStartEvent):
                if self.document.data is not None:
                    raise _Refused(self.mark(event.start_mark), "a second document starts here", "one file, one recipe")
                self.document.data = self.node(next(self.events), ())

    def node(self, event: Any, path: KeyPath) -> Any:
        mark = self.mark(event.start_mark, event.end_mark)
        self.check_depth(len(path), mark)
        if getattr(event, "value", None) != "":  # an empty value is marked where the next thing is: its key will do
            self.document.values[path] = mark
        if isinstance(event, events.AliasEvent):
            return self.alias(event, mark, len(path))
        self.count(mark)
        if event.tag is not None:
            raise _Refused(mark, f"the tag {shown_key(str(event.tag))} is not read", "write the plain value")
        if isinstance(event, events.ScalarEvent):
            value = scalar(event.value) if event.style is None else event.value
        elif isinstance(event, events.SequenceStartEvent):
            value = self.sequence(path)
        else:
            value = self.mapping(path)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        return value

    def sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), events.SequenceEndEvent):
            at = (*path, len(items))
            self.document.keys[at] = self.mark(event.start_mark, event.end_mark)
            items.append(self.node(event, at))
        return items

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(self.events), events.MappingEndEvent):
            mark = self.mark(event.start_mark, event.end_mark)
            if not isinstance(event, events.ScalarEvent) or event.tag is not None:
                raise _Refused(mark, "a key must be plain text", "write key: value")
            key = event.value
            if key == "<<" and event.style is None:
                raise _Refused(mark, "merge keys (<<) are not read", "write the keys out")
            at = (*path, key)
            if key in items:
                first = self.document.keys[at]
                self.report.add_at(
                    mark,
                    f"duplicate key {dotted(at)}, already written in line {first.line}",
                    "keep one of them",
                    where=dotted(at),
                )
                self.node(next(self.events), (*path, f"{key} (again)"))
                continue
            self.document.keys[at] = mark
            items[key] = self.node(next(self.events), at)
        return items

    def alias(self, event: Any, mark: Mark, depth: int) -> Any:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _Refused(mark, f"more than {MAX_ALIASES} aliases", "write the values out")
        if event.anchor not in self.anchors:
            problem = f"the alias *{shown_key(event.anchor)} has no anchor before it"
            raise _Refused(mark, problem, f"write &{shown_key(event.anchor)} at the value it stands for")
        return self.copy(self.anchors[event.anchor], mark, depth)

    def copy(self, value: Any, mark: Mark, depth: int) -> Any:
        self.check_depth(depth, mark)
        self.count(mark)
        if isinstance(value, dict):
            return {key: self.copy(item, mark, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item, mark, depth + 1) for item in value]
        return value

    def check_depth(self, depth: int, mark: Mark) -> None:
        if depth > MAX_DEPTH:
            raise _Refused(mark, f"nested deeper than {MAX_DEPTH} levels", "a recipe has about four")

    def count(self, mark: Mark) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _Refused(
                mark, f"more than {MAX_NODES} values, counting what aliases stand for", "a recipe has about a hundred"
            )

    def mark(self, start: Any, end: Any = None) -> Mark:
        source = self.lines[start.line].rstrip("\r") if start.line < len(self.lines) else ""
        width = end.column - start.column if end is not None and end.line == start.line else len(source) - start.column
        return Mark(self.document.name, start.line + 1, start.column, max(1, width), source)


def _reason(error: MarkedYAMLError) -> str:
    context = f" {error.context}" if error.context else ""
    return " ".join(f"{error.problem or 'syntax error'}{context}".split())


def _advice(mark: Mark) -> str:
    if "\t" in mark.source:
        return "indent with spaces, never tabs"
    if mark.source.count(": ") > 1:
        return "put text that contains ': ' in quotes"
    return "check the indentation, brackets and quotes here and in the line above"

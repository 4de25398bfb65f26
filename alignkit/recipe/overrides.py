"""Command-line overrides: `objective.beta=0.05`, `data.train.0.limit=10`. Values are YAML."""

from collections.abc import Sequence
from typing import Any

from alignkit.recipe.document import Document, Mark, Report
from alignkit.recipe.problems import KeyPath, RecipeError, dotted, shown_key
from alignkit.recipe.yaml_source import read_yaml
from alignkit.redaction import redact_command


def apply_overrides(overrides: Sequence[str], report: Report) -> None:
    """Write overrides into the report's document. Whether the keys mean anything is checked with the rest."""
    written: dict[str, str] = {}
    for override in overrides:
        mark = Mark(f"override {_shown(override)}")
        key, equals, text = override.partition("=")
        if key.startswith("--"):
            report.add_at(mark, "is an option, not an override", f"write {_shown(override.lstrip('-'), quote='')}")
        elif not equals or not all(key.split(".")):
            report.add_at(mark, "is not key=value", "write, for instance, objective.beta=0.05")
        elif key in written:
            report.add_at(mark, f"{key} is already set by {_shown(written[key])}", "keep one of them")
        else:
            written[key] = override
            _apply(key, text, mark, report)


def _apply(key: str, text: str, mark: Mark, report: Report) -> None:
    try:
        value, inner = read_yaml(text, mark.origin)
    except RecipeError as error:
        for problem in error.problems:
            report.add_at(mark, problem.what, problem.instead)
        return
    for problem in inner.problems():
        report.add_at(mark, problem.what, problem.instead)
    document = report.document
    path: KeyPath = ()
    *parents, last = key.split(".")
    for position, name in enumerate(parents):
        container = _at(document, path)
        step = _step(container, name, path, mark, report)
        if step is None:
            return
        path = (*path, step)
        child = _at(document, path)
        if child is None:
            document.put(path, {}, mark)
        elif isinstance(child, str) and path == ("objective",):  # `objective: dpo` is short for its name
            document.put(path, {"name": child}, mark)
        elif not isinstance(child, dict | list):
            rest = ".".join([*parents[position + 1 :], last])
            report.add_at(mark, f"{dotted(path)} is a value, so it has no {rest}", f"write {dotted(path)}=VALUE")
            return
    step = _step(_at(document, path), last, path, mark, report)
    if step is not None:
        document.put((*path, step), value.data, mark)


def _step(container: Any, name: str, path: KeyPath, mark: Mark, report: Report) -> str | int | None:
    """The key or index that `name` is in a container; None after reporting that it is neither."""
    if isinstance(container, dict):
        return name
    if name.isascii() and name.isdigit() and len(name) < 6 and int(name) < len(container):
        return int(name)
    last = len(container) - 1
    entries = f"write an index from 0 to {last}" if last >= 0 else f"set the list with {dotted(path)}=[...]"
    report.add_at(mark, f"{dotted(path)} is a list and has no entry {shown_key(name)}", entries)
    return None


def _at(document: Document, path: KeyPath) -> Any:
    value = document.data
    for key in path:
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


def _shown(override: str, quote: str = "'") -> str:
    (override,) = redact_command([override])
    short = override if len(override) <= 80 else override[:77] + "..."
    return f"{quote}{short}{quote}" if short.isprintable() else repr(short)

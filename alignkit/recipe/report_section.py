"""The `report` section: which trackers the metrics go to."""

from typing import Any, get_args

from alignkit.recipe.schema import Tracker
from alignkit.recipe.spelling import advice
from alignkit.recipe.typed import INVALID, Checker


def check_report(written: Any, checker: Checker) -> Any:
    """Names of trackers, or INVALID. `none`, the default, is no tracker; a single name needs no list."""
    if written is None or written == "none":
        return ()
    listed = isinstance(written, list)
    names = written if listed else [written]
    known = get_args(Tracker)
    valid = True
    for index, name in enumerate(names):
        path = ("report", index) if listed else ("report",)
        if not isinstance(name, str) or name not in known:
            shown = repr(name) if isinstance(name, str | int | float) else "this value"
            checker.report.add(path, f"report: {shown} is no tracker", _advice(name, listed), "value")
            valid = False
        elif name in names[:index]:
            checker.report.add(path, f"report: {name} is listed twice", "keep one of them", "value")
            valid = False
    return tuple(names) if valid else INVALID


def _advice(name: Any, listed: bool) -> str:
    if name == "none" and listed:
        return "write report: none, without a list"
    return advice(str(name), ["none", *get_args(Tracker)])

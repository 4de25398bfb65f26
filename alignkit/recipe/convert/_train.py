"""The options of a script: TRL's own keep their names; older names get today's."""

from typing import Any, get_args

from alignkit.recipe.convert._translation import Translation
from alignkit.recipe.moved_keys import RENAMED, moved
from alignkit.recipe.schema import Tracker

_LIMITS = ("max_prompt_length", "max_completion_length", "max_target_length")  # of parts of a sequence


def translate_report(translation: Translation) -> None:
    """Write the `report` section."""
    value = translation.take("report_to")
    names = [name for name in (value if isinstance(value, list) else [value]) if name not in (None, "none")]
    known = [name for name in names if name in get_args(Tracker)]
    for name in names:
        if name not in known:
            translation.leave("report_to", f"{name} is no tracker here", f"choose from {', '.join(get_args(Tracker))}")
    if known:
        translation.put("report", known[0] if len(known) == 1 else known, "report_to")


def translate_train(translation: Translation) -> None:
    """Write the `train` section: every key that is left, but for those whose place or end is known."""
    _lengths(translation)
    if {"eval_strategy", "evaluation_strategy"} & {*translation.rest}:
        translation.take("do_eval")  # follows from the strategy
    owned = translation.recipe["objective"]
    for key in [*translation.rest]:
        value = translation.take(key)
        if key in RENAMED:
            _rename(translation, key, value)
        elif said := moved(key, (key,), value, ()):
            if value and not _off(key, value):
                what, instead = said
                translation.leave(key, what.removeprefix(f"{key} "), instead)
        elif key not in owned:
            translation.put(f"train.{key}", value, key)


def _lengths(translation: Translation) -> None:
    """One limit for prompt and answer together."""
    parts = {key: value for key in _LIMITS if (value := translation.take(key)) is not None}
    whole = translation.rest.get("max_length")
    if whole is None and len(parts) == 2 and all(isinstance(value, int) for value in parts.values()):
        translation.put("train.max_length", sum(parts.values()), next(iter(parts)))
        return
    for key in parts:
        translation.leave(key, "is not read", "train.max_length limits prompt and answer together")


def _rename(translation: Translation, key: str, value: Any) -> None:
    name, _, fixed = RENAMED[key][0].partition(": ")
    if fixed:
        if value:
            translation.put(name, {"true": True, "false": False}.get(fixed, fixed), key)
    elif name.removeprefix("train.") in translation.rest:
        translation.leave(key, f"gives way to {name.removeprefix('train.')}")
    else:
        translation.put(name, value, key)


def _off(key: str, value: Any) -> bool:
    """Whether an option is at the value that changes nothing."""
    return key == "f_divergence_type" and value == "reverse_kl"

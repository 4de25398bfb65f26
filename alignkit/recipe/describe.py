"""Types in words: what a value should have been, and what to write for it."""

import dataclasses
import enum
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from alignkit.recipe.spelling import LIST_AT_MOST, nearest

SAY_AT_MOST = 6  # more names than that are counted, not listed

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
    Any: "anything",
}


def alternatives(kind: Any) -> list[Any]:
    """Members of a union, of unions in it too; any other type alone."""
    if get_origin(kind) in (Union, types.UnionType):
        return [option for member in get_args(kind) for option in alternatives(member)]
    if get_origin(kind) is Annotated and len(alternatives(get_args(kind)[0])) > 1:
        return alternatives(get_args(kind)[0])
    return [kind]


def choices(kind: Any) -> list[Any]:
    """Values that Literals and enumerations in `kind` allow."""
    found: list[Any] = []
    for option in alternatives(kind):
        if get_origin(option) is Literal:
            found += get_args(option)
        elif isinstance(option, type) and issubclass(option, enum.Enum):
            found += [member.value for member in option]
    return found


def is_mapping(kind: Any) -> bool:
    """Whether YAML writes values of this type as `{key: value}`."""
    origin = get_origin(kind) or kind
    return kind is Any or dataclasses.is_dataclass(kind) or (isinstance(origin, type) and issubclass(origin, Mapping))


def is_list(kind: Any) -> bool:
    """Whether YAML writes values of this type as `[item, item]`."""
    origin = get_origin(kind) or kind
    listed = isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset) and not issubclass(origin, str)
    return kind is Any or listed


def is_container(kind: Any) -> bool:
    """Whether YAML writes values of this type in more than one piece."""
    return is_mapping(kind) or is_list(kind)


def describe(kind: Any) -> str:
    """`a number or null`, `one of no, steps, epoch`, `a list of text`."""
    words = []
    for option in alternatives(kind):
        if get_origin(option) is Literal or (isinstance(option, type) and issubclass(option, enum.Enum)):
            words.append(_one_of(choices(option)))
        elif dataclasses.is_dataclass(option):
            words.append("a mapping")
        elif option is not Any and is_list(option):
            words.append(_list_of(option))
        elif option is not Any and is_mapping(option):
            words.append("a mapping")
        else:
            plain = get_args(option)[0] if get_origin(option) is Annotated else option
            words.append(_WORDS.get(plain, getattr(plain, "__name__", str(plain))))
    return " or ".join(dict.fromkeys(words))


def hint(kind: Any, value: Any) -> str:
    """What to write instead of a value of the wrong type; empty where nothing can be guessed."""
    options = alternatives(kind)
    if value is None:
        return "leave the key out for its default"
    if isinstance(value, str):
        return _hint_for_text(options, value, [str(choice) for choice in choices(kind)])
    if isinstance(value, bool) and value is False and "no" in choices(kind):
        return "write no"
    if str in options and isinstance(value, bool | int | float):
        return f"write it in quotes: '{_spelled(value)}'"
    if bool in options and value in (0, 1):
        return f"write {'true' if value else 'false'}"
    if not isinstance(value, list) and any(is_list(option) for option in options):
        return "write [{...}], a list" if isinstance(value, dict) else f"write [{_spelled(value)}]"
    return ""


def shown(value: Any) -> str:
    """A value as an error message shows it: short, on one line."""
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    if value is None or isinstance(value, bool):
        return _spelled(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint_for_text(options: list[Any], value: str, allowed: list[str]) -> str:
    lower = value.strip().lower()
    if bool in options and lower in ("yes", "on", "y", "true", "1"):
        return "write true"
    if bool in options and lower in ("no", "off", "n", "false", "0"):
        return "write false"
    if said := _hint_for_choice(value, allowed):
        return said
    if int in options or float in options:
        return _hint_for_number(lower)
    short = value if value.isprintable() and len(value) <= 60 else "..."
    for option in options:
        if is_list(option):
            item = (get_args(option) or (Any,))[0]
            return f"write [{_entry(item, short)}]" if dataclasses.is_dataclass(item) else f"write [{short}]"
        if dataclasses.is_dataclass(option):
            return f"write {_entry(option, '...')}"
    return ""


def _hint_for_choice(value: str, allowed: list[str]) -> str:
    if near := nearest(value, allowed):
        return f"did you mean {near[0]}?"
    return f"choose from {', '.join(allowed)}" if SAY_AT_MOST < len(allowed) <= LIST_AT_MOST else ""


def _entry(cls: Any, value: str) -> str:
    """A dataclass as YAML, with its first field only."""
    return f"{{{dataclasses.fields(cls)[0].name}: {value}}}"


def _hint_for_number(text: str) -> str:
    plain = text.replace("_", "").replace(",", "").replace(" ", "")
    percent = plain.endswith("%")
    try:
        number = float(plain.rstrip("%"))
    except ValueError:
        return ""
    if percent:
        return f"write {number / 100:g}"
    return f"write {plain}"


def _list_of(kind: Any) -> str:
    item = (get_args(kind) or (Any,))[0]
    if item is Any:
        return "a list"
    return "a list of mappings" if is_mapping(item) else f"a list of {describe(item)}"


def _one_of(values: Sequence[Any]) -> str:
    names = [_spelled(value) for value in values]
    if len(names) > SAY_AT_MOST:
        return f"one of {len(names)} names"
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _spelled(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Plain data against types: any frozen dataclass, with lists, mappings, unions and Literals inside it.

Every problem is reported, not the first one: a mapping is checked key by key, pydantic judges single values (strictly:
`yes` is no boolean, though the text `1e-5` is a number), and the class itself judges ranges when it is constructed.
"""

import dataclasses
import enum
import re
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError

from alignkit.recipe.describe import alternatives, describe, hint, is_container, is_list, is_mapping, shown
from alignkit.recipe.document import Report
from alignkit.recipe.problems import KeyPath, dotted, split_advice
from alignkit.recipe.yaml_source import scalar

INVALID: Any = object()  # stands for a value whose problem has been reported

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclasses.dataclass(frozen=True)
class Checker:
    """Checks values and reports what is wrong. `unknown(key, path, choices)` reports a key that a dataclass lacks."""

    report: Report
    unknown: Callable[[str, KeyPath, Collection[str]], None]

    def check(self, kind: Any, value: Any, path: KeyPath) -> Any:
        """`value` as `kind`, or INVALID after reporting why it is not."""
        if isinstance(value, dict):
            for option in alternatives(kind):
                if dataclasses.is_dataclass(option):
                    return self.construct(typing.cast(type, option), value, path)
                if is_mapping(option):
                    return self._mapping(option, value, path)
        elif isinstance(value, list):
            for option in alternatives(kind):
                if is_list(option):
                    return self._list(option, value, path)
        else:
            return self._scalar(kind, value, path)
        return self._wrong(kind, value, path)

    def construct(
        self,
        cls: type,
        value: Mapping[str, Any],
        path: KeyPath,
        also: Collection[str] = (),
        made: Mapping[str, Any] = {},
    ) -> Any:
        """An instance of a dataclass, or INVALID.

        Args:
            also: keys that belong to the section but not to the class.
            made: fields whose values are checked already, or INVALID.
        """
        fields = fields_of(cls)
        arguments = dict(made)
        for key, item in value.items():
            if key in fields:
                arguments[key] = self.check(fields[key], item, (*path, key))
            elif key not in also:
                arguments[key] = INVALID
                self.unknown(key, (*path, key), [*also, *fields])
        missing = [
            field.name for field in dataclasses.fields(cls) if _required(field) and field.name not in {**value, **made}
        ]
        for name in missing:
            self.report.add((*path, name), f"{dotted((*path, name))} is missing", _example(name, fields[name]))
        if missing or any(argument is INVALID for argument in arguments.values()):
            return INVALID
        try:
            return cls(**arguments)
        except Exception as error:  # the class may be a user's own, and a recipe must not end in its traceback
            self._refused(error, fields, path)
            return INVALID

    def _mapping(self, option: Any, value: dict[str, Any], path: KeyPath) -> Any:
        item_kind = (get_args(option) or (str, Any))[1]
        items = {key: self.check(item_kind, item, (*path, key)) for key, item in value.items()}
        return INVALID if any(item is INVALID for item in items.values()) else items

    def _list(self, option: Any, value: list[Any], path: KeyPath) -> Any:
        item_kind = (get_args(option) or (Any,))[0]
        items = [self.check(item_kind, item, (*path, index)) for index, item in enumerate(value)]
        if any(item is INVALID for item in items):
            return INVALID
        return items if (get_origin(option) or option) in (list, Any) else tuple(items)

    def _scalar(self, kind: Any, value: Any, path: KeyPath) -> Any:
        options = [_from_text(option) for option in alternatives(kind) if option is Any or not is_container(option)]
        if options:
            union: Any = Union[tuple(options)]  # noqa: UP007
            adapter: TypeAdapter[Any] = TypeAdapter(union, config=_STRICT)
            for candidate in (value, *_as_number(value)):
                try:
                    return adapter.validate_python(candidate)
                except ValidationError:
                    continue
        return self._wrong(kind, value, path)

    def _wrong(self, kind: Any, value: Any, path: KeyPath) -> Any:
        if not self.report.full:
            what = f"{dotted(path)} = {shown(value)} should be {describe(kind)}"
            self.report.add(path, what, hint(kind, value), part="value")
        return INVALID

    def _refused(self, error: Exception, fields: Mapping[str, Any], path: KeyPath) -> None:
        """A dataclass refused its values: blame the field that the message begins with."""
        what, instead = split_advice(str(error) or type(error).__name__)
        first = re.match(r"\w+", what)
        if first and first.group() in fields:
            self.report.add((*path, first.group()), f"{dotted(path)}.{what}", instead, part="value")
        else:
            self.report.add(path, f"{dotted(path)}: {what}", instead)


def fields_of(cls: type) -> dict[str, Any]:
    """{name: type} of the fields that a dataclass is constructed with."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _from_text(kind: Any) -> Any:
    """An enumeration takes its values' texts; pydantic's strictness would want its members, which YAML cannot hold."""
    return Annotated[kind, Strict(False)] if isinstance(kind, type) and issubclass(kind, enum.Enum) else kind


def _as_number(value: Any) -> list[Any]:
    """The number that a quoted number or an integral float stands for."""
    if isinstance(value, str):
        value = scalar(value.strip())
        if isinstance(value, bool) or not isinstance(value, int | float):
            return []
    if isinstance(value, float) and value.is_integer():
        return [value, int(value)]
    return [value]


def _example(name: str, kind: Any) -> str:
    if any(is_container(option) for option in alternatives(kind)):
        return f"write {name}: {'[...]' if is_list(alternatives(kind)[0]) else '{...}'}"
    return f"write {name}: VALUE"


def _required(field: dataclasses.Field) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING

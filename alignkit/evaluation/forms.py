"""The form of a judge's reply: text that ends in one of FastChat's marks, or JSON that its endpoint holds it to."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alignkit.evaluation.parse import Graded, Ungraded, graded_rating, graded_verdict, read_rating, read_verdict

Mode = Literal["single", "pairwise"]
Read = Graded[float] | Graded[str] | Ungraded

VALUES: dict[Mode, tuple[str, tuple[Any, ...]]] = {  # key of a reply's object, and what may stand there
    "single": ("rating", tuple(range(1, 11))),
    "pairwise": ("verdict", ("A", "B", "tie")),
}


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands in JSON, where a key may occur twice."""


class Form(ABC):
    """What a judge is asked to write, and how it is read."""

    name: str

    @abstractmethod
    def asks(self, mode: Mode) -> str:
        """The end of a prompt of ours."""

    @abstractmethod
    def parameters(self, mode: Mode) -> Mapping[str, Any]:
        """What a request says of it, in the protocol's names."""

    @abstractmethod
    def read(self, mode: Mode, reply: str, shown: Sequence[str]) -> tuple[str, Read]:
        """The judgment as FastChat writes it, and its value. `shown` are the texts that were judged."""


class Text(Form):
    """An explanation, and at its end `Rating: [[5]]` or `[[A]]`."""

    name = "text"

    def asks(self, mode: Mode) -> str:
        explain = "Explain your judgment in a few sentences. Then write one last line with nothing but "
        if mode == "single":
            return explain + 'a rating from 1 (worthless) to 10 (could not be better), in this form: "Rating: [[5]]"'
        return explain + (
            'your verdict: "[[A]]" if A is better, "[[B]]" if B is better, "[[C]]" if they are equally good'
        )

    def parameters(self, mode: Mode) -> Mapping[str, Any]:
        return {}

    def read(self, mode: Mode, reply: str, shown: Sequence[str]) -> tuple[str, Read]:
        return reply, read_rating(reply, shown) if mode == "single" else read_verdict(reply, shown)


@dataclass(frozen=True, kw_only=True)
class Json(Form):
    """An object with a rating or a verdict, behind an explanation or alone, by the protocol's `response_format`.

    A mark that a judge quotes is never its own here. An endpoint that does not know `response_format` lets the judge
    write what it likes; what is no such object is not graded.
    """

    name: str
    explained: bool  # whether an explanation stands before the value

    def asks(self, mode: Mode) -> str:
        explain = '"explanation", your judgment in a few sentences, then ' if self.explained else ""
        if mode == "single":
            value = '"rating", a whole number from 1 (worthless) to 10 (could not be better)'
        else:
            value = '"verdict": "A" if A is better, "B" if B is better, "tie" if they are equally good'
        return f"Reply with a JSON object: {explain}{value}"

    def parameters(self, mode: Mode) -> Mapping[str, Any]:
        key, values = VALUES[mode]
        kind = "integer" if mode == "single" else "string"
        explanation = {"explanation": {"type": "string"}} if self.explained else {}
        schema = {
            "type": "object",
            "properties": {**explanation, key: {"type": kind, "enum": [*values]}},
            "required": [*explanation, key],
            "additionalProperties": False,
        }
        named = {"name": key, "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def read(self, mode: Mode, reply: str, shown: Sequence[str]) -> tuple[str, Read]:
        key, values = VALUES[mode]
        wanted = ["explanation", key] if self.explained else [key]
        try:
            pairs = json.loads(reply, object_pairs_hook=_Pairs)
        except ValueError as error:
            return reply, Ungraded(reason=f"the reply is no JSON: {error}")
        if not isinstance(pairs, _Pairs) or sorted(name for name, _ in pairs) != wanted:
            return reply, Ungraded(reason=f"the reply is no object of {' and '.join(wanted)}")
        said = dict(pairs)
        value = said[key]
        if isinstance(value, bool) or value not in values:
            return reply, Ungraded(reason=f"the {key} {value!r} is none of {', '.join(map(str, values))}")
        explanation = f"{said['explanation']}\n\n" if self.explained else ""
        if mode == "single":
            judgment = f"{explanation}Rating: [[{value:g}]]"
            return judgment, graded_rating(float(value), judgment)
        judgment = f"{explanation}[[{'C' if value == 'tie' else value}]]"
        return judgment, graded_verdict(value, judgment)


TEXT = Text()
FORMS: dict[str, Form] = {
    form.name: form for form in (TEXT, Json(name="json", explained=True), Json(name="value", explained=False))
}

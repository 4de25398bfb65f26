"""JSON Schema of recipes, for editors: completion, descriptions and red underlines while one is written.

It is looser than `load`, which also knows ranges, contradictions and which options go with which objective.
"""

import dataclasses
import inspect
import io
import tokenize
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import TypeAdapter

from alignkit import objectives, rewards
from alignkit.data.spec import DataSpec
from alignkit.generation.spec import SampleSpec
from alignkit.models.spec import ModelSpec
from alignkit.recipe.describe import alternatives, choices, is_list, is_mapping
from alignkit.recipe.ensemble.spec import EnsembleSpec
from alignkit.recipe.evaluation.spec import EvaluationSpec
from alignkit.recipe.rl_spec import RLSpec
from alignkit.recipe.schema import FAMILIES, Tracker, TrainSpec, all_options, family_of, option_help
from alignkit.recipe.summary.spec import SummarySpec
from alignkit.recipe.train_section import train_keys
from alignkit.recipe.typed import fields_of
from alignkit.rewards import rules
from alignkit.rewards.spec import KINDS, MemberSpec, RewardSpec, RuleMember

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Schema (draft 2020-12) of a whole recipe, one alternative for each objective."""
    sections = {
        "objective": _objective(),
        "model": of_dataclass(ModelSpec),
        "data": of_dataclass(DataSpec),
        "train": _train(),
        "report": _report(),
        "summary": of_dataclass(SummarySpec),
        "teachers": {
            "description": "Aligned models whose scores poft reads; alignkit score-teachers computes them",
            "type": "array",
            "items": of_dataclass(ModelSpec),
        },
        "reward": _reward(),
        "ensemble": of_dataclass(EnsembleSpec),
        "evaluation": of_dataclass(EvaluationSpec),
        "sample": of_dataclass(SampleSpec),
        "profile": {
            "description": "Write where the time of a few steps goes, and torch's trace of them",
            "type": "boolean",
            "default": False,
        },
        "rl": of_dataclass(RLSpec),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "alignkit recipe",
        "type": "object",
        "properties": sections,
        "required": ["objective", "model", "data"],
        "additionalProperties": False,
    }


def of_dataclass(cls: type, extra: Mapping[str, Schema] | None = None, made: Mapping[str, Schema] = {}) -> Schema:
    """Schema of a dataclass's fields; their end-of-line comments are the descriptions.

    Args:
        extra: keys that the class does not have, all of them required.
        made: fields that are written differently from their types.
    """
    comments = _comments(cls)
    properties: Schema = dict(extra or {})
    required = list(properties)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        schema = made.get(field.name) or of_type(fields_of(cls)[field.name])
        if field.name in comments:
            schema["description"] = comments[field.name]
        if field.default is not dataclasses.MISSING:
            schema["default"] = field.default if not isinstance(field.default, tuple) else list(field.default)
        elif field.default_factory is dataclasses.MISSING:
            required.append(field.name)
        properties[field.name] = schema
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    description = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]
    return {**schema, "description": " ".join(description.split()), **({"required": required} if required else {})}


def of_type(kind: Any) -> Schema:
    """Schema of one value."""
    options = alternatives(kind)
    if len(options) > 1:
        return {"anyOf": [of_type(option) for option in options]}
    if kind is Any:
        return {}
    if dataclasses.is_dataclass(kind):
        return of_dataclass(kind)  # type: ignore[arg-type]  # is_dataclass narrows to no class
    if is_mapping(kind):
        return {"type": "object", "additionalProperties": of_type((get_args(kind) or (str, Any))[1])}
    if is_list(kind):
        return {"type": "array", "items": of_type((get_args(kind) or (Any,))[0])}
    if choices(kind):
        return {"enum": choices(kind)}
    return TypeAdapter(kind).json_schema()


def _objective() -> Schema:
    shipped = {name: objectives.find(name) for name in objectives.names()}
    trained = {name: cls for name, cls in shipped.items() if family_of(cls)}
    own = {
        "description": "A class of your own, by its dotted path",
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": r"\."}},
        "required": ["name"],
    }
    named = [of_dataclass(cls, {"name": {"const": name}}) for name, cls in trained.items()]
    return {
        "description": "The method, with its hyperparameters",
        "oneOf": [{"enum": list(trained)}, {"type": "string", "pattern": r"\."}, *named, own],
    }


def _reward() -> Schema:
    """Members are an alternative for each kind, and for each rule."""
    common = of_dataclass(MemberSpec)["properties"]
    members = [of_dataclass(kind) for kind in KINDS.values() if kind is not RuleMember]
    members += [of_dataclass(rules.find(name), {"rule": {"const": name}}) for name in rules.names()]
    for member in members:
        member["properties"] = {**common, **member["properties"]}
    combined = [of_dataclass(rewards.find(name), {"name": {"const": name}}) for name in rewards.names()]
    own = {"type": "object", "properties": {"name": {"type": "string", "pattern": r"\."}}, "required": ["name"]}
    names = {"enum": rewards.names()}
    made: dict[str, Schema] = {
        "members": {"type": "array", "items": {"anyOf": members}, "minItems": 1},
        "combine": {"anyOf": [names, *combined, own], "default": RewardSpec.COMBINED},
    }
    return of_dataclass(RewardSpec, made=made)


def _train() -> Schema:
    """Options of all families: which of them goes with an objective is left to `load`."""
    schema = of_dataclass(TrainSpec)
    schema["description"] = f"TRL's options under TRL's names ({', '.join(dict.fromkeys(FAMILIES.values()))}), and ours"
    ours = set(schema["properties"])
    kinds = {name: kind for group in all_options().values() for name, kind in group.items()}
    texts = option_help()
    for name in train_keys(None):
        if name not in ours:
            description = {"description": texts[name]} if texts.get(name) else {}
            schema["properties"][name] = {**of_type(kinds[name]), **description}
    return schema


def _report() -> Schema:
    trackers = list(get_args(Tracker))
    several = {"type": "array", "items": {"enum": trackers}, "uniqueItems": True}
    return {"description": "Where metrics go", "anyOf": [{"enum": ["none", *trackers]}, several], "default": "none"}


def _comments(cls: type) -> dict[str, str]:
    """{field: the comment beside its declaration}, of a class and its bases whose source can be read."""
    comments: dict[str, str] = {}
    for base in cls.__mro__:
        if dataclasses.is_dataclass(base):
            comments = {**_comments_in(base), **comments}
    return comments


def _comments_in(cls: type) -> dict[str, str]:
    try:
        source = inspect.cleandoc("\n" + inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    comments: dict[str, str] = {}
    name = ""  # first word of the statement; its comment may be inside brackets that it opened
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            name = ""
        elif token.type == tokenize.NAME:
            name = name or token.string
        elif token.type == tokenize.COMMENT and name:
            comments.setdefault(name, token.string.lstrip("# "))
    return comments

"""A recipe to start from, every line explained in the words of the schema, so that it cannot say what is no longer so.

Options at their defaults are there too, as `#key: value`: removing the `#` gives the same recipe.
"""

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from inspect import cleandoc
from typing import Any

from alignkit import objectives
from alignkit.data.layouts import WANTED
from alignkit.data.teachers import COLUMN
from alignkit.objectives import RewardObjective
from alignkit.recipe.build import row_shape
from alignkit.recipe.dump import to_yaml
from alignkit.recipe.json_schema import Schema, json_schema, of_dataclass
from alignkit.recipe.schema import FAMILIES, family_of, option_help

WIDTH = 110  # characters of a line of comment

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
TEACHER = "Qwen/Qwen2.5-1.5B-Instruct"
FEEDBACK = ("HuggingFaceH4/ultrafeedback_binarized", "train_prefs", "test_prefs")
TASKS = ("reasoning_gym", "train", "train")
TASK = {"name": "chain_sum", "columns": {"instruction": "prompt"}}  # asked as a user asks
SAMPLED = {"num_generations": 8, "max_completion_length": 256}
CHATS = ("HuggingFaceH4/ultrachat_200k", "train_sft", "test_sft")

# Shape of the rows: a data set that has it, and the learning rate that papers train all weights of a chat model with.
SHAPES: Mapping[str, tuple[tuple[str, str, str], float]] = {
    "pairs": (FEEDBACK, 5e-7),
    "rankings": (FEEDBACK, 1e-5),
    "unpaired": (FEEDBACK, 5e-6),
    "tokens": (CHATS, 2e-5),
    "tasks": (TASKS, 1e-6),
}


def starter(method: str) -> str:
    """Text of a recipe for `method`, which `load` reads as it is.

    Raises:
        ValueError: no such method, or none that a trainer takes.
    """
    cls = objectives.find(method)
    family = family_of(cls)
    if family is None:
        trained = [name for name in objectives.names() if family_of(objectives.find(name))]
        raise ValueError(f"{method} has no trainer; choose from {', '.join(trained)}")
    shape = row_shape(cls)
    columns = objectives.make(method).columns
    values = _values(method, shape, columns)
    schema = json_schema()["properties"]
    schema["objective"] = of_dataclass(cls, {"name": {"description": f"see `alignkit list {method}`"}})
    del schema["objective"]["description"]  # the formula, which is in the head
    schema["train"]["description"] = f"How it is trained. Every option of TRL's {FAMILIES[family]} may be written here."
    options, texts = schema["train"]["properties"], option_help([FAMILIES[family]])
    schema["train"]["properties"] = {
        key: options[key] | ({"description": texts[key]} if key in texts else {}) for key in values["train"]
    }
    lines = [*_head(cls, method), ""]
    for section, about in schema.items():
        rows = _rows(shape, columns) if section == "data" else []
        if section in values or section == "summary":
            lines += [*_key(section, about, values, method, 0, rows), ""]
    return "\n".join(lines[:-1]) + "\n"


def _values(method: str, shape: str, columns: Sequence[str]) -> dict[str, Any]:
    """What is written out; everything else is at its default."""
    (source, train, test), rate = SHAPES["rankings" if issubclass(objectives.find(method), RewardObjective) else shape]
    values: dict[str, Any] = {
        "objective": {"name": method, **_defaults(of_dataclass(objectives.find(method)))},
        "model": {"path": MODEL},
        "data": {"train": [{"source": source, "split": train}], "eval": [{"source": source, "split": test}]},
        "train": {
            "output_dir": f"runs/{method}",
            "num_train_epochs": 1,
            "per_device_train_batch_size": 4,
            "global_batch_size": 64,
            "learning_rate": rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.1,
            "max_length": 1024,
            "eval_strategy": "steps",
            "eval_steps": 100,
            "logging_steps": 10,
            "save_steps": 500,
            "save_total_limit": 2,
            "seed": 42,
        },
        "report": "none",
    }
    if shape == "tasks":
        task = {"source": source, **TASK}
        values["data"] = {"train": [{**task, "limit": 10_000}], "eval": [{**task, "limit": 64, "seed": 10_000}]}
        values["reward"] = {"members": [{"rule": "math_verify"}]}
        del values["train"]["max_length"]
        values["train"] |= {**SAMPLED, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}
    if COLUMN in columns:
        values["teachers"] = [{"path": TEACHER}]
        values["data"]["teacher_scores"] = f"{method}_scores.parquet"
        values["train"]["assistant_only_loss"] = True
    return values


def _defaults(schema: Schema) -> dict[str, Any]:
    return {key: about["default"] for key, about in schema["properties"].items() if about.get("default") is not None}


def _head(cls: type, method: str) -> Iterator[str]:
    """What the method is, in the words of its file."""
    yield f"# {cleandoc(sys.modules[cls.__module__].__doc__ or method).splitlines()[0]}"
    yield "#"
    yield from (f"# {line}".rstrip() for line in cleandoc(cls.__doc__ or "").splitlines())
    yield "#"
    yield "# A # without a space, as in #limit: null, stands before an option at its default."
    yield "# alignkit check FILE says what a run would do, alignkit train FILE does it. More keys: alignkit schema"


def _rows(shape: str, columns: Sequence[str]) -> list[str]:
    """What rows must hold."""
    scored = f", and {' and '.join(columns)}" if columns else ""
    said = [f"Rows hold {WANTED[shape]}{scored}. Other names: columns: {{OURS: THEIRS}}."]
    if COLUMN in columns:
        said.append(f"alignkit score-teachers FILE computes {COLUMN} once, before training.")
    return said


def _key(
    name: str, about: Schema, values: Mapping[str, Any], method: str, indent: int, also: Sequence[str] = ()
) -> Iterator[str]:
    """A key under its explanation, and what is below it."""
    pad = "  " * indent
    for text in (_explained(about), *also):
        yield from _comment(text, pad)
    mark = "" if name in values else "#"
    value = values.get(name, about.get("default", _empty(about)))
    inner, items = _object(about), about.get("items", {})
    if inner is not None and (not mark or value is None or value == {}):
        yield f"{pad}{mark}{name}:"
        for key, below in inner["properties"].items():
            if _concerns(below, method):
                yield from _key(key, below, value or {}, method, indent + 1)
    elif value and "properties" in items:
        yield f"{pad}{name}:"
        for number, entry in enumerate(value):
            yield from _item(entry, items, method, indent + 1, explained=name == "train" or number > 0)
    else:
        yield f"{pad}{mark}{name}: {_written(value)}"


def _item(entry: Mapping[str, Any], schema: Schema, method: str, indent: int, explained: bool) -> Iterator[str]:
    """An entry of a list of mappings; one kind of entry is explained once in a file."""
    pad = "  " * indent
    if not explained:
        yield f"{pad}- {_written(entry)}"
        return
    dash = "- "
    for key, about in schema["properties"].items():
        for line in _key(key, about, entry, method, indent + 1):
            if dash and line.lstrip().startswith("#"):
                line = pad + line.lstrip()
            elif dash:
                line, dash = f"{pad}{dash}{line.lstrip()}", ""
            yield line


def _explained(about: Schema) -> str:
    """The description, with the choices that it does not name itself."""
    text = about.get("description", "")
    kinds = [kind for kind in about.get("anyOf", [about]) if kind.get("type") not in ("null", "array")]
    choices = (
        [choice for kind in kinds for choice in kind.get("enum", ())] if all("enum" in kind for kind in kinds) else []
    )
    if text.endswith("...") or all(str(choice) in text for choice in choices):
        return text
    return f"{text.removesuffix('.')}; one of {', '.join(map(str, choices))}"


def _concerns(about: Schema, method: str) -> bool:
    """Whether an option is of any use to the method: some say `of mmpo: ...`."""
    said = re.match(r"of ([\w, ]+): ", about.get("description", ""))
    return said is None or method in re.findall(r"\w+", said[1])


def _object(about: Schema) -> Schema | None:
    """The schema of a mapping with known keys, which may be one of several things that a value can be."""
    return next((option for option in (about, *about.get("anyOf", ())) if "properties" in option), None)


def _empty(about: Schema) -> Any:
    return {"object": {}, "array": []}.get(about.get("type", ""))


def _comment(text: str, pad: str) -> Iterator[str]:
    wrapped = textwrap.wrap(text, WIDTH - len(pad), break_long_words=False, break_on_hyphens=False)
    return (f"{pad}# {line}" for line in wrapped)


def _written(value: Any) -> str:
    """A value as one writes it on a line: 5.0e-7, which every YAML reader takes for a number."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, float) and "e" in repr(value):
        mantissa, exponent = repr(value).split("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent)}"
    return to_yaml({"": value}).partition(":")[2].strip() or "null"

"""Pages written when the site is built: methods from docstrings, the recipe reference from the schema, SECURITY.md."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from alignkit import objectives
from alignkit.recipe.json_schema import json_schema


def on_files(files: Files, config: Any) -> Files:
    security = (Path(__file__).parents[1] / "SECURITY.md").read_text(encoding="utf-8")
    for name, text in (("methods.md", methods()), ("recipe.md", reference(json_schema())), ("security.md", security)):
        files.append(File.generated(config, name, content=text))
    return files


def methods() -> str:
    """A section a method: hyperparameters, formula, optimum, source."""
    parts = [
        "# Methods\n",
        "From the docstrings of `alignkit/objectives`. The code is one file a method, as long as this page says.\n",
    ]
    for name in objectives.names():
        cls = objectives.find(name)
        defaults = ", ".join(f"{field.name}={field.default!r}" for field in dataclasses.fields(cls))
        family = next(base.__name__ for base in cls.__mro__ if base.__module__.endswith("_base"))
        text = inspect.cleandoc(cls.__doc__ or "")
        parts.append(f"## {name}\n\n`{name}({defaults})`, a `{family}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def reference(schema: dict[str, Any]) -> str:
    """A section a top-level key of a recipe, with a table of its keys."""
    parts = [
        "# Recipe reference\n",
        "Every key a recipe may hold. `alignkit schema` prints the same as a JSON Schema, for editors.\n",
    ]
    for name, section in schema["properties"].items():
        parts.append(f"## {name}\n\n{section.get('description', '')}\n")
        parts += tables(section, schema)
    return "\n".join(parts)


def tables(section: dict[str, Any], schema: dict[str, Any], title: str = "") -> list[str]:
    """Tables of a section's keys, one for each alternative that is a mapping."""
    section = resolved(section, schema)
    found = []
    if "properties" in section:
        rows = "\n".join(row(key, resolved(value, schema)) for key, value in section["properties"].items())
        found.append(f"{title}\n\n| key | type | default | |\n|---|---|---|---|\n{rows}\n")
    for option in (*section.get("oneOf", ()), *section.get("anyOf", ())):
        named = resolved(option, schema).get("properties", {}).get("name", {}).get("const", "")
        found += tables(option, schema, f"### {named}" if named else "")
    if "items" in section:
        found += tables(section["items"], schema)
    return found


def row(key: str, value: dict[str, Any]) -> str:
    cells = (
        f"`{key}`",
        kind(value),
        f"`{value['default']}`" if "default" in value else "",
        value.get("description", ""),
    )
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def kind(value: dict[str, Any]) -> str:
    """Type of a key in a word or two."""
    if "enum" in value:
        return ", ".join(str(choice) for choice in value["enum"])
    if "const" in value:
        return str(value["const"])
    options = (*value.get("oneOf", ()), *value.get("anyOf", ()))
    return str(value.get("type", "")) or " or ".join(filter(None, (kind(option) for option in options)))


def resolved(section: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference into the schema's definitions."""
    while "$ref" in section:
        rest = {key: value for key, value in section.items() if key != "$ref"}
        section = schema["$defs"][section["$ref"].rpartition("/")[2]] | rest
    return section

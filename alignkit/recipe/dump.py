"""Writing a recipe down again, whole: every default filled in, every local path absolute."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from alignkit.recipe.schema import Recipe


def dump(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe that `load` reads back as an equal one, from any folder."""
    Path(path).write_text(to_yaml(recipe.resolved()), encoding="utf-8")


def to_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as YAML 1.2, keys in their order."""
    stream = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 120
    yaml.dump(data, stream)
    return stream.getvalue()

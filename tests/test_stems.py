"""One name for a method everywhere: objective file, recipe folder, test file. And what its docstring must say."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from alignkit import objectives
from alignkit.objectives import Objective
from alignkit.recipe.build import TRAINERS
from alignkit.recipe.schema import FAMILIES, family_of

ROOT = Path(__file__).parents[1]
NAMES = objectives.names()
TRAINABLE = [name for name in NAMES if family_of(objectives.find(name))]


def source(name: str) -> Path:
    return ROOT / "alignkit" / "objectives" / f"{name}.py"


def lines_of_fields(name: str) -> dict[str, str]:
    """{field: its line of source, and the comment lines above it}."""
    lines = source(name).read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found = {}
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno - 1
            while lines[first - 1].strip().startswith("#"):
                first -= 1
            found[node.target.id] = "\n".join(lines[first : node.end_lineno])
    return found


def test_methods_are_found():
    assert len(NAMES) >= 11
    assert len(TRAINABLE) >= 8
    assert {*TRAINERS} == {*FAMILIES}, "a family needs a line in recipe/schema.py and one in recipe/build.py"


def test_every_file_is_a_method():
    files = {path.stem for path in source("dpo").parent.glob("*.py") if not path.stem.startswith("_")}
    assert files == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_one_class_whose_name_is_the_file(name):
    tree = ast.parse(source(name).read_text(encoding="utf-8"))
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert cls.name.lower() == name.replace("_", "")
    found = objectives.find(name)
    assert found.__name__ == cls.name
    assert dataclasses.is_dataclass(found)
    assert found.__dataclass_params__.frozen


@pytest.mark.parametrize("name", NAMES)
def test_no_method_inherits_from_another(name):
    family = [base for base in objectives.find(name).__mro__[1:] if issubclass(base, Objective)]
    assert {base.__module__ for base in family} == {"alignkit.objectives._base"}


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_method_has_a_smoke_recipe_and_a_test(name):
    assert (ROOT / "recipes" / name / "tiny.yaml").is_file()
    assert (ROOT / "tests" / "objectives" / f"test_{name}.py").is_file()


def test_recipe_folders_are_methods():
    folders = {path.parent.name for path in (ROOT / "recipes").rglob("*.yaml")}
    assert folders - {"demo", "accelerate"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_starts_with_the_formula_and_names_the_source(name):
    text = inspect.cleandoc(objectives.find(name).__doc__)
    formula = text.split("\n\n")[0]
    assert re.search(r"\b(log|sigmoid|exp)\b|\w \* \w|\^2", formula), f"the first lines are no formula: {formula}"
    assert not re.search(r"[a-z]\. [A-Z]", formula), f"prose comes after the formula, after an empty line: {formula}"
    (cited,) = re.findall(r"^Source: (.+)$", text, re.MULTILINE)
    assert re.search(r"\d{4}", cited), f"the source has no year: {cited}"


@pytest.mark.parametrize("name", NAMES)
def test_every_hyperparameter_has_a_comment(name):
    written = lines_of_fields(name)
    fields = [field.name for field in dataclasses.fields(objectives.find(name))]
    assert {*fields} == {*written}
    for field, text in written.items():
        assert re.search(r"# \S", text), f"{field} needs a comment: its meaning, unit and range"

"""What is read from source files is what the imported package says."""

from pathlib import Path

import pytest

from alignkit import objectives
from alignkit.cli import _sources
from alignkit.recipe import load, shipped_recipes
from alignkit.recipe.json_schema import json_schema, of_dataclass
from alignkit.recipe.schema import objective_name


def flat(schema, prefix):
    """{dotted key: description} of a schema's properties, the first entry standing for all of a list."""
    found = {}
    for key, about in schema.get("properties", {}).items():
        found[f"{prefix}.{key}"] = about.get("description", "")
        for inner, name in ((about, key), (about.get("items", {}), f"{key}.0")):
            found |= flat(inner, f"{prefix}.{name}")
        for option in about.get("anyOf", ()):
            found |= flat(option, f"{prefix}.{key}")
    return found


def test_keys_are_those_of_the_schema():
    sections = json_schema()["properties"]
    want = {}
    for section in ("model", "data", "train", "summary", "evaluation", "sample", "rl"):
        want |= flat(sections[section], section)
    for section in ("reward", "ensemble"):  # whose keys hold more than an override writes one by one
        want |= {f"{section}.{key}": about["description"] for key, about in sections[section]["properties"].items()}
    want |= {key: text for key, text in flat(sections["teachers"]["items"], "teachers.0").items() if key.count(".") < 3}
    for name in objectives.names():
        want |= flat(of_dataclass(objectives.find(name)), "objective")
    found = _sources.recipe_keys()
    assert {*found} - {"objective.name", "report", "profile"} == {*want}
    assert {section.split(".")[0] for section in found} == {*sections}
    assert found["model.adapter.rank"] == want["model.adapter.rank"]
    assert found["train.warmup_steps"] == want["train.warmup_steps"]
    assert all(found.values())


def test_hyperparameters_are_those_of_the_method():
    keys = [key for key in _sources.recipe_keys("hdpo") if key.startswith("objective.")]
    assert keys == ["objective.name", "objective.alpha", "objective.beta"]
    assert "objective.gen_scale" in _sources.recipe_keys("my.own.method")


def test_names_are_those_of_the_package():
    assert _sources.recipe_names() == shipped_recipes()
    assert _sources.method_names() == objectives.names()


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_method_of_a_recipe_is_seen_at_a_glance(name):
    assert _sources.method_of(name) == objective_name(load(name).objective)


@pytest.mark.parametrize(
    ("text", "method"),
    [("objective: dpo\n", "dpo"), ("# a\nobjective:\n  name: kto\n", "kto"), ("model: {}\n", None), ("", None)],
)
def test_the_method_of_a_file(tmp_path, monkeypatch, text, method):
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text)
    assert _sources.method_of("x.yaml") == method


def test_a_recipe_that_is_not_there_has_no_method(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _sources.method_of("gone.yaml") is None
    assert _sources.method_of("") is None

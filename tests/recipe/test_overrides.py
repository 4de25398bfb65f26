"""Overrides on the command line."""

import pytest

from alignkit.recipe.document import Report
from alignkit.recipe.overrides import apply_overrides
from alignkit.recipe.yaml_source import read_yaml

TEXT = """objective: dpo
model: {path: org/model, adapter: null}
data: {train: [{source: a}, {source: b}]}
"""


def applied(*overrides):
    document, report = read_yaml(TEXT, "x.yaml")
    apply_overrides(overrides, report)
    return document.data, [str(problem) for problem in report.problems()]


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.learning_rate=5e-7", lambda data: data["train"] == {"learning_rate": 5e-7}),
        ("objective.beta=0.05", lambda data: data["objective"] == {"name": "dpo", "beta": 0.05}),
        ("objective=ipo", lambda data: data["objective"] == "ipo"),
        ("model.adapter.rank=16", lambda data: data["model"]["adapter"] == {"rank": 16}),
        ("model.adapter={rank: 8, alpha: 2}", lambda data: data["model"]["adapter"] == {"rank": 8, "alpha": 2}),
        ("data.train.1.limit=10", lambda data: data["data"]["train"][1] == {"source": "b", "limit": 10}),
        ("model.path=a=b", lambda data: data["model"]["path"] == "a=b"),
        ("report=[wandb, trackio]", lambda data: data["report"] == ["wandb", "trackio"]),
        ("model.revision=", lambda data: data["model"]["revision"] is None),
        ("train.run_name='7'", lambda data: data["train"]["run_name"] == "7"),
    ],
)
def test_a_value_is_written(override, read):
    data, problems = applied(override)
    assert problems == []
    assert read(data)


def test_several_overrides_build_on_each_other():
    data, problems = applied("data.eval=[{source: c}]", "data.eval.0.split=test")
    assert problems == []
    assert data["data"]["eval"] == [{"source": "c", "split": "test"}]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.seed", "is not key=value; write, for instance, objective.beta=0.05"),
        ("=3", "is not key=value; write, for instance, objective.beta=0.05"),
        ("train..seed=3", "is not key=value; write, for instance, objective.beta=0.05"),
        ("--train.seed=3", "is an option, not an override; write train.seed=3"),
        ("data.train.2.limit=3", "data.train is a list and has no entry 2; write an index from 0 to 1"),
        ("data.train.first=3", "data.train is a list and has no entry first; write an index from 0 to 1"),
        ("data.train.-1=3", "data.train is a list and has no entry -1; write an index from 0 to 1"),
        ("model.path.name=3", "model.path is a value, so it has no name; write model.path=VALUE"),
        ("train.optim=[a", "not valid YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence"),
        ("train.x={a: 1, a: 2}", "duplicate key a, already written in line 1; keep one of them"),
        ("train.x=!!python/name:os.system x", "the tag tag:yaml.org,2002:python/name:os.system is not read"),
    ],
)
def test_a_bad_override_is_quoted(override, message):
    _, problems = applied(override)
    assert len(problems) == 1
    assert problems[0].startswith(f"override '{override}': {message}")


def test_the_same_key_twice():
    _, problems = applied("train.seed=1", "train.seed=2")
    assert problems == ["override 'train.seed=2': train.seed is already set by 'train.seed=1'; keep one of them"]


def test_marks_of_what_was_written_over_are_forgotten():
    document, report = read_yaml(TEXT, "x.yaml")
    apply_overrides(["model={path: org/other}"], report)
    assert document.mark(("model", "path"), "value").origin == "override 'model={path: org/other}'"
    assert document.mark(("data",)).origin == "x.yaml"


def test_control_characters_of_an_override_are_not_printed():
    _, problems = applied("a\x1b[31m")
    assert "\x1b" not in problems[0]


def test_problems_of_the_file_come_first():
    document, _ = read_yaml(TEXT, "x.yaml")
    report = Report(document)
    apply_overrides(["x"], report)
    report.add(("data",), "late")
    report.add(("objective",), "early")
    assert [problem.what for problem in report.problems()] == ["early", "late", "is not key=value"]


def test_control_characters_of_a_key_are_not_printed():
    _, problems = applied("a.\x1b[31m=1", "a.\x1b[31m=2")
    assert "\x1b" not in problems[0]

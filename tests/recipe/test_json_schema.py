"""The schema for editors accepts what `load` accepts and knows every key."""

import json

import pytest

from alignkit import objectives
from alignkit.recipe import json_schema, load, shipped_recipes
from alignkit.recipe.json_schema import of_dataclass
from alignkit.recipe.schema import family_of
from alignkit.recipe.shipped import recipes_folder
from alignkit.recipe.train_section import train_keys
from alignkit.recipe.yaml_source import read_yaml


@pytest.fixture(scope="module")
def schema():
    return json_schema()


def test_it_is_json(schema):
    assert json.loads(json.dumps(schema)) == schema


def test_every_objective_is_an_alternative_with_its_hyperparameters(schema):
    named = {
        option["properties"]["name"]["const"]: option for option in schema["properties"]["objective"]["oneOf"][2:-1]
    }
    assert set(named) == {name for name in objectives.names() if family_of(objectives.find(name))}
    hdpo = named["hdpo"]
    assert set(hdpo["properties"]) == {"name", "alpha", "beta"}
    beta = hdpo["properties"]["beta"]
    assert (beta["type"], beta["default"]) == ("number", 0.1)
    assert beta["description"].startswith("reward per nat of log-ratio")
    assert hdpo["additionalProperties"] is False
    assert "log sigmoid" in hdpo["description"]


def test_every_key_of_train_is_there_with_its_help(schema):
    train = schema["properties"]["train"]["properties"]
    assert set(train) == set(train_keys(None))
    assert train["learning_rate"]["description"]
    assert train["eval_strategy"]["enum"] == ["no", "steps", "epoch"]
    assert "beta" not in train
    assert "bf16" not in train


def test_nested_sections_carry_their_comments(schema):
    adapter = next(
        option for option in schema["properties"]["model"]["properties"]["adapter"]["anyOf"] if option.get("properties")
    )
    assert adapter["properties"]["rank"]["description"].startswith("rank of the update")
    source = schema["properties"]["data"]["properties"]["train"]["items"]
    assert source["required"] == ["source"]


def test_a_class_without_source_has_no_descriptions():
    namespace: dict = {}
    exec("from dataclasses import dataclass\n@dataclass\nclass Made:\n    a: int = 1  # one\n", namespace)
    assert of_dataclass(namespace["Made"])["properties"] == {"a": {"type": "integer", "default": 1}}


def test_recipes_pass_and_typos_do_not(schema):
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator.check_schema(schema)
    check = validator(schema)
    for name in shipped_recipes():
        document, _ = read_yaml((recipes_folder() / f"{name}.yaml").read_text(), name)
        assert [error.message for error in check.iter_errors(document.data)] == []
        assert check.is_valid(load(name).resolved())
        assert not check.is_valid({**document.data, "trian": {}})
        assert not check.is_valid({**document.data, "objective": {"name": "dpo", "betta": 1}})
        assert not check.is_valid({**document.data, "train": {"learning_rte": 1}})
    assert check.is_valid({**document.data, "objective": "dpo", "report": ["wandb"]})
    assert check.is_valid({**document.data, "objective": {"name": "my.own.Loss", "x": 1}})

"""The reward section: members of several kinds in, a spec or every problem out."""

import pytest

from alignkit.recipe import RecipeError, json_schema, load
from alignkit.recipe.dump import dump
from alignkit.recipe.yaml_source import read_yaml
from alignkit.rewards import make, rules
from alignkit.rewards.ensemble import Calibration
from alignkit.rewards.spec import FunctionMember, JudgeMember, ModelMember, RemoteMember, RewardSpec, RuleMember

HEAD = 'objective: dpo\nmodel: {path: "tiny:llama"}\ndata: {train: [{source: org/rows}]}\nreward:\n'
BODY = """\
  members:
    - {model: org/judge, max_length: 512}
    - {function: lengths.length, calibration: {mean: 10, std: 2.5, count: 80}}
    - {rule: exact_match, ignore_case: true, name: right}
    - {url: "http://localhost:8000/score", batch: 16, columns: [answer]}
    - {judge: strict, url: "http://localhost:8000/v1", criteria: short, reference: answer}
  combine: {name: uncertainty_weighted, coefficient: 0.3}
  normalise: zscore
  on_member_failure: drop
"""


def read(path):
    return load(path, uses=["reward"])


def test_every_kind_of_member_and_back(write):
    recipe = read(write(HEAD + BODY))
    assert recipe.reward == RewardSpec(
        members=(
            ModelMember(model="org/judge", max_length=512),
            FunctionMember(function="lengths.length", calibration=Calibration(mean=10, std=2.5, count=80)),
            RuleMember(rule=rules.make("exact_match", ignore_case=True), name="right"),
            RemoteMember(url="http://localhost:8000/score", batch=16, columns=("answer",)),
            JudgeMember(judge="strict", url="http://localhost:8000/v1", criteria="short", reference="answer"),
        ),
        combine=make("uncertainty_weighted", coefficient=0.3),
        normalise="zscore",
        on_member_failure="drop",
    )
    dump(recipe, "again.yaml")
    assert read("again.yaml") == recipe


def test_short_forms_and_defaults(write):
    spec = read(write(HEAD + "  members: [{rule: exact_match}]\n  combine: worst\n")).reward
    assert spec == RewardSpec(members=(RuleMember(rule=rules.make("exact_match")),), combine=make("worst"))
    assert read(write(HEAD + "  members: [{rule: exact_match}]\n")).reward.combine == make("mean")


def test_weights_are_of_a_mean(write):
    body = "  members: [{rule: exact_match, weight: 3}, {rule: length, limit: 8, buffer: 8}]\n"
    recipe = read(write(HEAD + body))
    assert [member.weight for member in recipe.reward.members] == [3, 1]
    dump(recipe, "again.yaml")
    assert read("again.yaml") == recipe
    for written, problem in (
        ("  combine: worst\n", "weight of exact_match is for combine: mean; remove it, or write mean"),
        ("", "weight = 0.0 of exact_match must be a positive number"),
    ):
        with pytest.raises(RecipeError) as error:
            read(write(HEAD + (body if written else body.replace("weight: 3", "weight: 0")) + written))
        assert problem in str(error.value)


def test_models_beside_the_recipe_are_found(write, tmp_path):
    (tmp_path / "judge").mkdir()
    spec = read(write(HEAD + "  members: [{model: judge}]\n")).reward
    assert (spec.members[0].model, spec.members[0].label) == (str(tmp_path / "judge"), "judge")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (" 3", ["x.yaml:4: reward should be a mapping; write reward: {members: [{model: PATH}]}"]),
        ("  combine: mean", ["x.yaml:4: reward.members is missing; write members: [{model: PATH}]"]),
        ("  members: judge", ["x.yaml:5: reward.members should be a list of mappings; write members: [{model: PATH}]"]),
        ("  members: [judge]", ["x.yaml:5: reward.members.0 should be a mapping; write {model: PATH}"]),
        ("  members: [{modle: x}]", ["x.yaml:5: reward.members.0 does not say what it is; did you mean 'model'?"]),
        (
            "  members: [{model: x, rule: y}]",
            ["x.yaml:5: reward.members.0 is model and rule at once; write a member for each"],
        ),
        (
            "  members: [{rule: exact_match, colum: a, name: 3}, {rule: exactmatch}, {model: x, batch: 3}]",
            [
                "x.yaml:5: unknown key reward.members.0.colum; did you mean column?",
                "x.yaml:5: reward.members.0.name = 3 should be text or null; write it in quotes: '3'",
                "x.yaml:5: reward.members.1.rule: no rule named 'exactmatch'; did you mean 'exact_match'?",
                "x.yaml:5: unknown key reward.members.2.batch; did you mean batch_tokens?",
            ],
        ),
        (
            "  members: [{model: a/x}, {model: b/x}]",
            ["x.yaml:5: reward.members: two are called 'x'; give each a name of its own"],
        ),
        (
            "  members: [{model: x}]\n  combine: {name: median, coefficient: 1}\n  normalize: zscore",
            [
                "x.yaml:6: unknown key reward.combine.coefficient; choose from name",
                "x.yaml:7: unknown key reward.normalize; did you mean normalise?",
            ],
        ),
        (
            "  members: [{model: x}]\n  combine: {coefficient: 1}",
            ["x.yaml:6: reward.combine should name a rule; write combine: {name: NAME}"],
        ),
        (
            "  members: [{model: x}]\n  combine: uncertanty\n  on_member_failure: ignore",
            [
                "x.yaml:6: reward.combine: no combine named 'uncertanty'; did you mean 'uncertainty_weighted'?",
                "x.yaml:7: reward.on_member_failure = 'ignore' should be one of error, drop",
            ],
        ),
        (
            "  members: [{model: x}]\n  combine: {name: worst}\n  normalise: batch",
            ["x.yaml:7: reward.normalise = 'batch' should be one of none, zscore"],
        ),
    ],
)
def test_what_is_wrong(write, body, expected):
    with pytest.raises(RecipeError) as caught:
        read(write(HEAD.rstrip("\n") + ("" if body == " 3" else "\n") + body + "\n"))
    assert str(caught.value).split("\n") == expected


def test_methods_that_learn_from_data_have_no_reward(write):
    with pytest.raises(RecipeError) as caught:
        load(write(HEAD + "  members: [{rule: exact_match}]\n"))
    message = "x.yaml:4: reward has no effect: this objective learns from data, not from rewards; remove it"
    assert str(caught.value) == message


def test_the_schema_for_editors_accepts_it(write):
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json_schema())
    document, _ = read_yaml(HEAD + BODY, "x.yaml")
    assert [error.message for error in validator.iter_errors(document.data)] == []
    assert validator.is_valid(read(write(HEAD + BODY)).resolved())
    for bad in ({"members": []}, {"members": [{"rule": "exact"}]}, {"members": [{"model": "x", "modle": 1}]}):
        assert not validator.is_valid({**document.data, "reward": bad})
    assert not validator.is_valid({**document.data, "reward": {**document.data["reward"], "combine": "sum"}})

import logging

import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification

from alignkit.models.load import load_tokenizer
from alignkit.models.reward import load_reward_model
from alignkit.models.spec import ModelSpec
from alignkit.rewards import make, rules
from alignkit.rewards.build import load_reward
from alignkit.rewards.ensemble import Calibration
from alignkit.rewards.spec import FunctionMember, ModelMember, RewardSpec, RuleMember
from tests.objectives.properties import assert_refuses

LENGTHS = """
from neighbours import count

def length(prompts, completions, **columns):
    return [count(answer) for answer in completions]

notes = "no function"
"""
EXACT = RuleMember(rule=rules.make("exact_match"))


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory):
    """A tiny reward model in a folder of its own."""
    folder = tmp_path_factory.mktemp("models") / "judge"
    spec = ModelSpec(path="tiny:llama")
    load_reward_model(spec).save_pretrained(folder)
    load_tokenizer(spec).save_pretrained(folder)
    return folder


@pytest.fixture
def recipe_folder(tmp_path, monkeypatch):
    """A recipe's folder with a function in it; the working directory is another one."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "lengths.py").write_text(LENGTHS)
    (folder / "neighbours.py").write_text("count = len\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def test_members_of_every_kind_score_together(reward_model, recipe_folder, caplog):
    spec = RewardSpec(
        members=(ModelMember(model=str(reward_model)), FunctionMember(function="lengths.length"), EXACT),
        combine=make("worst"),
        on_member_failure="drop",
    )
    with caplog.at_level(logging.WARNING):
        ensemble = load_reward(spec, recipe_folder)
    assert f"lengths.length runs the code of {recipe_folder / 'lengths.py'}" in caplog.text
    verdict = ensemble.judge(["p", "p"], ["four", "4"], answer=["4", "4"])
    assert [*verdict.members] == ["judge", "length", "exact_match"]
    assert verdict.members["length"].tolist() == [4, 1]
    assert verdict.members["exact_match"].tolist() == [0, 1]
    assert verdict.members["judge"].unique().numel() == 2
    assert (ensemble.combine, ensemble.on_member_failure) == (make("worst"), "drop")


def test_statistics_of_a_model_lie_in_its_folder_and_others_are_written(reward_model, recipe_folder):
    function = FunctionMember(function="lengths.length", calibration=Calibration(mean=2, std=2, count=9))
    spec = RewardSpec(members=(function, ModelMember(model=str(reward_model))), normalise="zscore")
    missing = "member 'judge' has no calibration, which normalise: zscore needs; run alignkit reward calibrate RECIPE"
    assert_refuses(missing, load_reward, spec, recipe_folder)
    saved = Calibration(mean=0.5, std=0.25, count=80)
    saved.save(reward_model)
    ensemble = load_reward(spec, recipe_folder)
    assert [member.calibration for member in ensemble.members] == [function.calibration, saved]
    assert ensemble.judge(["p"], ["four"]).members["length"].tolist() == [1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "lengths.breadth",
            "cannot import 'lengths.breadth': module .* has no attribute 'breadth'; looked in .*recipe",
        ),
        ("no_such.f", "cannot import 'no_such.f': No module named 'no_such'; looked in .* and the installed packages"),
        ("lengths.notes", "lengths.notes is no function; a reward takes"),
    ],
)
def test_functions_that_are_not_there(recipe_folder, function, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        load_reward(RewardSpec(members=(FunctionMember(function=function),)), recipe_folder)


def test_installed_packages_are_searched_too(recipe_folder):
    assert load_reward(RewardSpec(members=(FunctionMember(function="os.path.join"),)), recipe_folder).members[0].reward


def test_nothing_is_imported_from_the_working_directory(recipe_folder, monkeypatch):
    elsewhere = recipe_folder.parent / "elsewhere"
    (elsewhere / "planted.py").write_text("open('canary', 'w').close()\nf = len\n")
    monkeypatch.syspath_prepend(elsewhere)
    spec = RewardSpec(members=(FunctionMember(function="planted.f"),))
    with pytest.raises(ValueError, match="planted lies in the working directory; put it beside the recipe, or install"):
        load_reward(spec, recipe_folder)
    assert not (elsewhere / "canary").exists()


def test_specs_that_make_no_sense():
    assert_refuses("members is empty; write [{model: PATH}]", RewardSpec, members=())
    same = "members: two are called 'exact_match'; give each a name of its own"
    assert_refuses(same, RewardSpec, members=(EXACT, EXACT))
    assert RewardSpec(members=(EXACT, RuleMember(rule=EXACT.rule, name="again"))).combine == make("mean")
    assert_refuses("function = 'f' names no module; write module.f", FunctionMember, function="f")
    assert_refuses("batch_tokens = 0 must be at least 1", ModelMember, model="m", batch_tokens=0)


def test_members_that_give_several_numbers_are_refused(reward_model, recipe_folder):
    """A classifier among reward models: its labels are another scale than theirs, or none."""
    judge = ModelMember(model=str(reward_model))
    classes = recipe_folder / "classes"
    config = AutoConfig.from_pretrained(reward_model, num_labels=2)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(classes)
    spec = RewardSpec(members=(judge, ModelMember(model=str(classes))), on_member_failure="drop")
    assert_refuses(f"{classes} gives 2 numbers for a text; a reward model gives 1", load_reward, spec, recipe_folder)

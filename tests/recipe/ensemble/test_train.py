"""Ensembles from one recipe: every member is the run of its own recipe, and the folder is a reward."""

import json
import re
import signal
from shutil import which

import pytest
import torch

from alignkit.models.spec import ModelSpec
from alignkit.recipe import RecipeError, load
from alignkit.recipe.ensemble import train as training
from alignkit.recipe.ensemble.results import pairs_of
from alignkit.recipe.ensemble.spec import EnsembleSpec
from alignkit.rewards import make
from alignkit.rewards.build import load_reward
from alignkit.rewards.ensemble import Calibration
from alignkit.rewards.model import ModelReward
from alignkit.rewards.shared import load_members
from alignkit.rewards.spec import EnsembleMember, RewardSpec
from alignkit.trainers import Interrupted
from tests.faults.runs import At
from tests.launching import ROOT, SECONDS, accelerate, launch
from tests.objectives.properties import assert_refuses
from tests.recipes.runs import RECIPES, train, weights

FORMS = ["models", "lora", "heads"]
PROMPTS, ANSWERS = ["What is a noun?", "Who?", "Why?"], ["A word. For example, cat.", "Me!", "Because it is so."]
TEXT = "objective: OBJECTIVE\nmodel: {path: x}\ndata: {train: [{source: org/rows}]}\nensemble: {size: 3, form: lora}\n"


@pytest.fixture(scope="module", params=FORMS)
def trained(request, tmp_path_factory):
    """Form, folder and output of an ensemble of two, the second of its members trained alone, and models loaded."""
    folder = tmp_path_factory.mktemp(request.param)
    loads = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNKIT_CACHE", str(request.config.cache.mkdir("alignkit")))
        original = training.load_recipe_model
        patch.setattr(training, "load_recipe_model", lambda *args: loads.append(1) or original(*args))
        section = f"ensemble={{size: 2, form: {request.param}}}"
        output = train("bradley_terry/tiny", folder / "both", section, "train.seed=7").output
        alone = train(folder / "both" / "member-1" / "recipe.yaml", folder / "alone").folder
        yield request.param, folder / "both", output, alone, len(loads)


@pytest.mark.smoke
def test_a_member_trained_alone_has_the_same_weights_to_the_last_bit(trained):
    _, folder, _, alone, _ = trained
    together, single, other = (weights(one) for one in (folder / "member-1", alone, folder / "member-0"))
    assert together.keys() == single.keys() == other.keys()
    assert [name for name in single if not torch.equal(single[name], together[name])] == []
    assert any(not torch.equal(single[name], other[name]) for name in single)


@pytest.mark.smoke
def test_a_signal_ends_the_ensemble_which_goes_on_to_the_last_bit(trained, tmp_path):
    form, whole, _, _, _ = trained
    section = f"ensemble={{size: 2, form: {form}}}"
    options = [section, "train.seed=7", f"train.output_dir={tmp_path}", "train.disable_tqdm=true"]
    recipe = load("bradley_terry/tiny", options)

    def interrupted(trainer):
        if str(trainer.args.output_dir).endswith("member-1"):
            trainer.add_callback(At("on_step_begin", 0, lambda: signal.raise_signal(signal.SIGTERM)))

    with pytest.raises(Interrupted, match="stopped and saved at step 1"):
        training.train_ensemble(recipe, None, interrupted)
    assert (tmp_path / "member-1" / "checkpoint-1").is_dir()
    assert not (tmp_path / "ensemble.json").exists()
    began: list[int] = []

    def watched(trainer):
        trainer.add_callback(At("on_step_begin", 1, lambda: began.append(1)))

    training.train_ensemble(recipe, None, watched, "auto")
    assert began == [1], "the first member is done, the second goes on from its first step"
    for name in ("member-0", "member-1"):
        expected = weights(whole / name)
        assert all(torch.equal(tensor, expected[key]) for key, tensor in weights(tmp_path / name).items())


def test_a_single_checkpoint_is_of_no_ensemble():
    message = "--resume some/where: an ensemble goes on from checkpoints of its members; write --resume auto"
    assert_refuses(message, training.train_ensemble, load("bradley_terry/tiny"), None, print, "some/where")


@pytest.mark.smoke
def test_adapters_and_heads_share_a_backbone(trained):
    form, folder, _, _, loads = trained
    assert loads == (2 if form == "models" else 1)
    if form != "models":
        first, second = (member.reward for member in load_members(folder))
        assert first.shared is second.shared


@pytest.mark.smoke
def test_the_folder_is_a_reward_whose_members_score_as_they_do_alone(trained):
    _, folder, _, _, _ = trained
    member = EnsembleMember(ensemble=str(folder), name="rm")
    verdict = load_reward(RewardSpec(members=(member,)), None).judge(PROMPTS, ANSWERS)
    assert [*verdict.members] == ["rm/member-0", "rm/member-1"]
    for name, scores in verdict.members.items():
        single = ModelReward.load(ModelSpec(path=str(folder / name.removeprefix("rm/"))))
        torch.testing.assert_close(scores, single(PROMPTS, ANSWERS), atol=1e-5, rtol=1e-5)
    assert not torch.equal(*verdict.members.values())
    scaled = load_reward(RewardSpec(members=(member,), combine=make("worst"), normalise="zscore"), None)
    for one in scaled.members:
        assert one.calibration == Calibration.read(folder / one.name.removeprefix("rm/"))
        assert one.calibration.count == 8  # both answers of four held-out pairs


@pytest.mark.smoke
@pytest.mark.matrix
@pytest.mark.parametrize("trained", ["lora", "heads"], indirect=True)
def test_two_processes_train_the_same_members(trained, tmp_path):
    """Adapters under ZeRO-2, whose second member is prepared in a process that has trained one; heads under DDP."""
    form, folder, _, _, _ = trained
    config = RECIPES / "accelerate" / ("zero2-cpu.yaml" if form == "lora" else "ddp-cpu.yaml")
    if form == "lora" and which("c++") is None:
        pytest.skip("DeepSpeed needs a C++ compiler on CPUs")
    options = [f"ensemble={{size: 2, form: {form}}}", "train.seed=7", f"train.output_dir={tmp_path / 'two'}"]
    program = [*accelerate(config), str(ROOT / "scripts" / "train.py"), "bradley_terry/tiny", *options]
    result = launch([*program, "train.per_device_train_batch_size=1"], tmp_path, 3 * SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    for member in ("member-0", "member-1"):
        one, two = weights(folder / member), weights(tmp_path / "two" / member)
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(two[name], tensor, rtol=0, atol=2e-5)
    ours, theirs = (json.loads((place / "results.json").read_text()) for place in (tmp_path / "two", folder))
    assert ours["members"] == theirs["members"]


@pytest.mark.smoke
def test_seeds_and_held_out_accuracy_are_written_down(trained):
    form, folder, output, _, _ = trained
    listed = json.loads((folder / "ensemble.json").read_text())
    assert listed == {"form": form, "members": [{"folder": f"member-{i}", "seed": 7 + i} for i in range(2)]}
    results = json.loads((folder / "results.json").read_text())
    assert results["pairs"] == 4
    assert [*results["members"]] == ["member-0", "member-1"]
    assert {*results["combined"]} == {"mean", "worst", "median", "uncertainty_weighted", "lower_confidence"}
    for name, accuracy in {**results["members"], **results["combined"]}.items():
        assert re.search(rf"{name} +{accuracy:.3f}", output)
    assert (folder / "disagreement.png").stat().st_size > 1000
    assert load(folder / "recipe.yaml").ensemble == EnsembleSpec(size=2, form=form)
    alone = load(folder / "member-1" / "recipe.yaml")
    assert (alone.ensemble, alone.train["seed"], alone.model.head_only) == (None, 8, form == "heads")


def test_pairs_of_rows_with_their_answers_best_first():
    assert pairs_of([2, 3]) == ([0, 2, 2, 3], [1, 3, 4, 4])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ensemble.size=1", "ensemble.size = 1 must be at least 2; without the section one reward model is trained"),
        ("ensemble.form=head", "ensemble.form = 'head' should be one of models, lora, heads; did you mean heads?"),
        ("ensemble.sise=3", "unknown key ensemble.sise; did you mean size?"),
        ("train.push_to_hub=true", "train.push_to_hub pushes one model, and an ensemble has several; remove it, and"),
        ("model.head_only=true", "model.head_only contradicts ensemble.form: lora; write form: heads, or remove it"),
        ("objective=dpo", "ensemble is of reward models, which this objective does not train; remove it"),
    ],
)
def test_what_is_wrong_with_the_section(write, override, message):
    with pytest.raises(RecipeError) as caught:
        load(write(TEXT.replace("OBJECTIVE", "bradley_terry")), [override])
    assert message in str(caught.value)


def test_an_adapter_belongs_to_the_form_lora(write):
    text = TEXT.replace("OBJECTIVE", "bradley_terry").replace("x}", "x, adapter: {rank: 4}}").replace("lora", "heads")
    with pytest.raises(RecipeError, match=r"model\.adapter contradicts ensemble\.form: heads; write form: lora"):
        load(write(text))


def test_folders_that_hold_no_ensemble(tmp_path):
    message = f"{tmp_path} holds no ensemble.json; give the output folder of a recipe with ensemble:"
    assert_refuses(message, load_members, tmp_path)
    message = "calibration is of one member, and lies in its folder; remove it"
    assert_refuses(message, EnsembleMember, ensemble="x", calibration=Calibration(mean=0, std=1, count=2))

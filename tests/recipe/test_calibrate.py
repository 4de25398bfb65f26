"""alignkit reward calibrate: the scale of members, from a recipe's evaluation data."""

import json

import pytest
from click.testing import CliRunner

from alignkit.cli import main
from alignkit.models.load import load_tokenizer
from alignkit.models.reward import load_reward_model
from alignkit.models.spec import ModelSpec
from alignkit.recipe import load
from alignkit.rewards.build import load_reward
from alignkit.rewards.ensemble import Calibration
from alignkit.rewards.model import ModelReward

ROWS = [{"prompt": "p", "chosen": "a", "rejected": "abc"}, {"prompt": "p", "chosen": "ab", "rejected": "abcdef"}]
RECIPE = """\
objective: bradley_terry
model: {path: "tiny:llama"}
data: {train: [{source: rows.jsonl}], eval: [{source: rows.jsonl}]}
reward:
  members: [{function: lengths.length}, {model: judge}]
  normalise: zscore
"""


@pytest.fixture
def folder(write, tmp_path, model_cache):
    write(RECIPE)
    write("".join(json.dumps(row) + "\n" for row in ROWS), "rows.jsonl")
    write(
        "def length(prompts, completions, **columns):\n    return [len(text) for text in completions]\n"
        "def same(prompts, completions, **columns):\n    return [1 for text in completions]\n",
        "lengths.py",
    )
    spec = ModelSpec(path="tiny:llama")
    load_reward_model(spec).save_pretrained(tmp_path / "judge")
    load_tokenizer(spec).save_pretrained(tmp_path / "judge")
    return tmp_path


def calibrate(*args):
    return CliRunner().invoke(main, ["reward", "calibrate", *args])


def test_scales_are_saved_with_models_and_printed_for_others(folder):
    result = calibrate("x.yaml")
    assert result.exit_code == 0, result.output
    lengths = "length: calibration: {mean: 3, std: 1.87083, count: 4}"
    assert f"{lengths}, write it beside the member" in result.output
    assert f"saved in {folder / 'judge'}" in result.output
    scores = ModelReward.load(ModelSpec(path=str(folder / "judge")))(["p"] * 4, ["a", "abc", "ab", "abcdef"]).double()
    saved = Calibration.read(folder / "judge")
    assert saved.mean == pytest.approx(scores.mean().item(), abs=1e-6)
    assert (saved.std, saved.count) == (pytest.approx(scores.std(correction=0).item(), abs=1e-6), 4)
    written = "reward.members.0.calibration={mean: 3, std: 1.87083, count: 4}"
    recipe = load("x.yaml", [written], uses=["reward"])
    verdict = load_reward(recipe.reward, folder).judge(["p"] * 4, ["a", "abc", "ab", "abcdef"])
    for member in verdict.members.values():
        assert member.mean().item() == pytest.approx(0, abs=1e-4)
        assert member.std(correction=0).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reward=null", "the recipe has no reward; write reward: {members: [{model: PATH}]}"),
        ("data.eval=[]", "the recipe has no evaluation data to calibrate on; write data.eval: [{source: FILE}]"),
        (
            "reward.members=[{rule: exact_match, column: prompt}]",
            "'exact_match' failed: ValueError: ExactMatch reads the column 'prompt'; the data have chosen, rejected",
        ),
        ("reward.members=[{function: lengths.same}]", "member 'same': scores with mean 1.0 and standard deviation 0.0"),
    ],
)
def test_what_cannot_be_calibrated(folder, override, message):
    result = calibrate("x.yaml", override)
    assert result.exit_code != 0
    assert message in result.output

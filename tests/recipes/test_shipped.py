"""Every recipe loads, and every tiny one trains, through the command line and from a folder of no importance."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from alignkit.models.sources import resolve
from alignkit.objectives import RewardObjective
from alignkit.recipe import load, shipped_recipes
from tests.recipes.runs import FILES, alone, recipe_name, train, weights
from tests.test_stems import TRAINABLE

TINY = [path for path in FILES if path.stem == "tiny"]


def recipe_scores(path: Path) -> list[str]:
    """The file of teachers' scores that a recipe reads, where it reads one."""
    scores = load(path).data.teacher_scores
    return [] if scores is None else [Path(scores).name]


def test_recipes_are_found():
    assert len(FILES) >= 19
    assert {path.parent.name for path in TINY} == {*TRAINABLE}
    assert [recipe_name(path) for path in FILES] == shipped_recipes()


@pytest.mark.parametrize("path", FILES, ids=recipe_name)
def test_a_recipe_loads(path):
    recipe = load(path)
    assert recipe.path == path
    assert recipe.data.train
    assert recipe.train["output_dir"].startswith("runs/")
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# "), "a recipe starts by saying what it is and where its numbers come from"


@pytest.mark.parametrize("path", [alone(path) for path in TINY])
def test_a_tiny_recipe_trains(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(recipe_name(path), Path("out"))
    assert len(run.losses) == 2
    assert all(math.isfinite(loss) for loss in run.losses)
    assert any("eval_loss" in entry for entry in run.history)
    before, after = weights(Path(resolve("tiny:llama"))), run.weights
    if isinstance(load(path).objective, RewardObjective):
        AutoModelForSequenceClassification.from_pretrained(run.folder, num_labels=1)
        assert before.keys() ^ after.keys() == {"lm_head.weight", "score.weight"}
    else:
        AutoModelForCausalLM.from_pretrained(run.folder)
        assert before.keys() == after.keys()
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert not torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    for folder in (run.folder, run.folder / "checkpoint-2"):
        assert (folder / "recipe.yaml").is_file()
        assert (folder / "provenance.json").is_file()
    assert run.provenance["world_size"] == 1
    scores = recipe_scores(path)
    assert len(run.provenance["datasets"]) == 2 + len(scores)
    assert {*scores} <= {*run.provenance["datasets"]}
    assert "model: out" in run.output

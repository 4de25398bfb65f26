"""Training from the recipe saved beside a checkpoint repeats the run bit for bit."""

import pytest
import torch

from tests.recipes.runs import train

# all that is drawn at random: the adapter's first weights, its dropout, hold-out, order of rows, flipped labels
RANDOM = (
    "model.adapter.rank=4",
    "model.adapter.dropout=0.1",
    "train.disable_dropout=false",  # TRL switches dropout off for pairs
    "train.seed=7",
    "data.seed=3",
    "data.eval=[]",
    "data.holdout=0.25",
    "data.label_noise=0.3",
)


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


@pytest.mark.parametrize("overrides", [(), RANDOM], ids=["as it is", "all at random"])
def test_a_saved_recipe_repeats_the_run(overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = train("dpo/tiny", tmp_path / "first", "train.max_steps=3", *overrides)
    torch.rand(3)  # what went before in this process must not matter
    second = train(first.folder / "recipe.yaml", tmp_path / "second")
    assert len(first.losses) == 3
    assert first.history == second.history
    (saved,) = first.folder.glob("*.safetensors")
    assert saved.read_bytes() == (second.folder / saved.name).read_bytes()


@pytest.mark.smoke
def test_a_seed_changes_the_run(tmp_path, monkeypatch):
    """Guards the test above: were nothing drawn from the seeds, it would show nothing."""
    monkeypatch.chdir(tmp_path)
    first = train("dpo/tiny", tmp_path / "first", *RANDOM)
    for index, change in enumerate(["train.seed=8", "data.seed=4", "model.adapter.dropout=0"]):
        other = train(first.folder / "recipe.yaml", tmp_path / str(index), change)
        assert differing(first.weights, other.weights), change

"""A resolved recipe is the same recipe."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.recipe import dump, load, shipped_recipes
from alignkit.recipe.dump import to_yaml
from alignkit.recipe.yaml_source import read_yaml


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_survive_the_round_trip(name, tmp_path):
    recipe = load(name)
    dump(recipe, tmp_path / "resolved.yaml")
    again = load(tmp_path / "resolved.yaml")
    assert again == recipe
    assert again.resolved() == recipe.resolved()


def test_there_are_shipped_recipes():
    assert len(shipped_recipes()) >= 16


def test_everything_is_written_down(write, tmp_path):
    name = write(
        "objective: {name: napo, q: dynamic}\n"
        "model: {path: tiny:llama, chat_template: chat.jinja, adapter: {rank: 4, targets: [q_proj]}}\n"
        "data: {train: [{source: rows.jsonl, columns: {prompt: 'no', chosen: '1e5'}}], holdout: 0.25, seed: 3}\n"
        "train: {lr_scheduler_kwargs: {num_cycles: 2}, run_name: '7', eval_strategy: 'no', global_batch_size: 16}\n"
        "report: [wandb, tensorboard]\n",
        "recipes/x.yaml",
    )
    write("{}\n", "recipes/rows.jsonl")
    write("{{ messages }}", "recipes/chat.jinja")
    recipe = load(name)
    elsewhere = tmp_path / "checkpoint" / "recipe.yaml"
    elsewhere.parent.mkdir()
    dump(recipe, elsewhere)
    assert load(elsewhere) == recipe
    plain = recipe.resolved()
    assert plain["objective"] == {"name": "napo", "beta": 0.1, "q": "dynamic", "alpha": 0.5, "margin": "token"}
    assert plain["data"]["train"][0]["source"] == str(Path("recipes/rows.jsonl").absolute())
    assert plain["model"]["chat_template"] == str(Path("recipes/chat.jinja").absolute())
    assert plain["train"]["global_batch_size"] == 16
    assert plain["report"] == ["wandb", "tensorboard"]


def test_what_is_written_does_not_share_state_with_the_recipe(write):
    recipe = load(
        write(
            "objective: dpo\nmodel: {path: org/model}\ndata: {train: [{source: org/rows}]}\n"
            "train: {lr_scheduler_kwargs: {num_cycles: 2}}\n"
        )
    )
    recipe.resolved()["train"]["lr_scheduler_kwargs"]["num_cycles"] = 3
    assert recipe.train["lr_scheduler_kwargs"] == {"num_cycles": 2}


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x7f\ufeff\ufffe\uffff"), max_size=20)
HARD = st.sampled_from(
    ["yes", "no", "1e5", "5e-7", "0x1F", "0o7", "~", "", "null", "-", "1_0", "2024-01-01", ".5", "+1"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | TEXT | HARD


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(TEXT | HARD, SCALARS | st.lists(SCALARS, max_size=3), max_size=5))
def test_what_is_written_is_what_is_read(values):
    document, report = read_yaml(to_yaml({"top": values}), "x.yaml")
    assert not report
    assert document.data == {"top": values}
    assert [type(value) for value in document.data["top"].values()] == [type(value) for value in values.values()]

"""Recipes to start from: they load, explain every key, and train."""

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from alignkit import objectives
from alignkit.models.spec import Adapter
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.recipe.schema import family_of
from alignkit.recipe.shipped import recipes_folder
from alignkit.recipe.starter import WIDTH, starter
from tests.test_stems import TRAINABLE

KEY = re.compile(r"\s*(- )?#?(\w+):( |$)")
COMMENT = re.compile(r"\s*# ")


@pytest.fixture(scope="module")
def texts():
    return {name: starter(name) for name in TRAINABLE}


@pytest.fixture
def written(texts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str | None = None) -> str:
        Path("x.yaml").write_text(text or texts[name])
        return "x.yaml"

    return write


@pytest.mark.parametrize("name", TRAINABLE)
def test_it_loads_with_the_method_s_defaults(written, name):
    recipe = load(written(name))
    assert recipe.objective == objectives.make(name)
    assert recipe.data.train
    assert recipe.data.eval
    assert recipe.train["output_dir"] == f"runs/{name}"


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_key_is_explained(texts, name):
    lines = texts[name].splitlines()
    keys = 0
    for above, line in itertools.pairwise(lines):
        if KEY.match(line) and "{" not in line.split(":")[0] and line.strip() != "objective:":
            keys += 1
            assert COMMENT.match(above), f"{line!r} has no comment"
    assert keys > 40
    assert all(len(line) <= WIDTH + 10 for line in lines)


@pytest.mark.parametrize("name", TRAINABLE)
def test_options_in_comments_are_at_their_defaults(written, texts, name):
    plain = load(written(name))
    uncommented = re.sub(r"^(\s*)#(\w)", r"\1\2", texts[name], flags=re.MULTILINE)
    assert uncommented.count("\n") == texts[name].count("\n")
    full = load(written(name, uncommented))
    assert full.model.adapter == Adapter()
    assert replace(full, model=replace(full.model, adapter=None)) == plain


def test_numbers_look_like_numbers(texts):
    assert "  learning_rate: 5.0e-7\n" in texts["dpo"]
    assert "  learning_rate: 2.0e-5\n" in texts["nll"]
    assert "  beta: 0.01\n" in texts["srpo"]


def test_choices_are_said(texts):
    assert "  # stop at rows that cannot be used, or drop and count them; one of error, drop\n" in texts["dpo"]
    assert "# Where metrics go; one of none, wandb, trackio, tensorboard\n" in texts["dpo"]


def test_options_of_other_methods_are_left_out(texts):
    assert "revision_prompt" in texts["srpo"]
    assert "revision_prompt" not in texts["dpo"]
    assert "teachers:" in texts["poft"]
    assert "teachers:" not in texts["nll"]


def test_columns_that_the_method_reads_are_named(texts):
    assert "and score_chosen and score_rejected" in " ".join(texts["mmpo"].replace("#", "").split())


def test_a_method_without_a_trainer_is_refused(monkeypatch):
    monkeypatch.setattr(
        "alignkit.recipe.starter.family_of", lambda cls: None if cls.__name__ == "IPO" else family_of(cls)
    )
    with pytest.raises(ValueError, match=r"ipo has no trainer; choose from .*dpo, .*nll"):
        starter("ipo")
    with pytest.raises(ValueError, match="did you mean 'dpo'"):
        starter("dpoo")


def rows(name: str, columns: tuple[str, ...]) -> Path:
    """The demo's data in the shape of a method, with the numbers that it reads."""
    source = "chat_train.jsonl" if "messages" in starter_rows(name) else "pairs_train.jsonl"
    lines = (recipes_folder() / "demo" / source).read_text().splitlines()[:8]
    made = [{**json.loads(line), **dict.fromkeys(columns, -1.0 - i / 8)} for i, line in enumerate(lines)]
    file = Path("rows.jsonl").absolute()
    file.write_text("".join(json.dumps(row) + "\n" for row in made))
    return file


def starter_rows(name: str) -> str:
    return next(line for line in starter(name).splitlines() if line.startswith("# Rows hold"))


def one_of_each_family():
    """Every method, those apart that another of the same family stands for."""
    seen = set()
    for name in TRAINABLE:
        family = family_of(objectives.find(name))
        yield pytest.param(name, marks=pytest.mark.more if family in seen else ())
        seen.add(family)


@pytest.mark.smoke
@pytest.mark.parametrize("name", [*one_of_each_family()])
def test_it_trains_with_a_tiny_model_and_the_demo_s_data(written, name):
    recipe = load(written(name))
    source = f"[{{source: {rows(name, recipe.objective.columns)}}}]"
    small = ["model.path=tiny:llama", f"data.train={source}", f"data.eval={source}"]
    small += ["train.max_steps=2", "train.global_batch_size=4", "train.logging_steps=1"]
    if recipe.reward:
        small += ["train.num_generations=2", "train.max_completion_length=4", "train.per_device_train_batch_size=2"]
        small += ["reward={members: [{rule: regex_match, pattern: '[a-m]'}]}"]
    if recipe.teachers:  # the scores are in the rows
        small += ["teachers=[]", "data.teacher_scores=null"]
    trainer = build(load("x.yaml", small))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)

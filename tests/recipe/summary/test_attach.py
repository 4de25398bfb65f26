"""What a real, tiny run leaves: page, card and metrics, without being changed by them."""

import json
import re
import warnings

import pytest
from huggingface_hub import ModelCard

from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.recipe.summary import attach

pytestmark = pytest.mark.smoke

DROPOUT = ("model.adapter.rank=2", "model.adapter.dropout=0.2", "train.disable_dropout=false", "train.save_strategy=no")


def trained(folder, *overrides, resume=None):
    trainer = build(load("dpo/tiny", [f"train.output_dir={folder}", "summary.max_new_tokens=8", *overrides]))
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_page_and_metrics_lie_in_the_folder(tmp_path):
    trainer = trained(tmp_path)
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert page.count("<h3>Prompt ") == 4
    assert page.count("Before (step 0)") == 4
    assert page.count("After (step 2)") == 4
    assert lines(tmp_path) == trainer.state.log_history


def test_answers_change_no_run(tmp_path):
    """Generating them must leave random numbers, dropout and weights as they were."""
    without = trained(tmp_path / "a", "summary.answers=0", *DROPOUT)
    answered = trained(tmp_path / "b", *DROPOUT)
    assert losses(without) == losses(answered)
    page = (tmp_path / "a" / "summary.html").read_text(encoding="utf-8")
    assert "Not generated: summary.answers is 0; write summary.answers: 4 to have them." in page
    other = trained(tmp_path / "c", "train.seed=1", *DROPOUT)
    assert losses(other) != losses(answered), "guards the first assertion: dropout draws"


def test_a_resumed_run_says_where_it_was_resumed(tmp_path):
    whole = trained(tmp_path, "train.max_steps=4", "train.save_steps=2", "train.eval_steps=4")
    first = lines(tmp_path)
    trainer = trained(
        tmp_path, "train.max_steps=4", "train.save_steps=2", "train.eval_steps=4", resume=tmp_path / "checkpoint-2"
    )
    steps = [line["step"] for line in lines(tmp_path) if "loss" in line]
    assert steps == [1, 2, 3, 4]
    assert losses(trainer) == losses(whole) == [line["loss"] for line in first if "loss" in line]
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert "Before (step 2)" in page
    assert "After (step 4)" in page


def test_our_card_is_what_a_checkpoint_leaves(tmp_path):
    trainer = trained(tmp_path)
    assert "by alignkit" in (tmp_path / "README.md").read_text(encoding="utf-8"), "TRL writes one with each checkpoint"
    (tmp_path / "README.md").unlink()
    trainer.create_model_card(model_name="as TRL calls it")
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.tags == ["alignkit", "trl", "dpo"]


def test_the_code_in_the_card_runs(tmp_path, capsys):
    trainer = trained(tmp_path, "model.adapter.rank=2")
    trainer.save_model()
    assert "### Framework versions" in (tmp_path / "README.md").read_text(), (
        "peft writes into our card, so it goes last"
    )
    trainer.create_model_card()
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "### Framework versions" not in text
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    capsys.readouterr()
    exec(code.replace("max_new_tokens=128", "max_new_tokens=4"), {})
    assert capsys.readouterr().out


def test_a_page_that_cannot_be_written_ends_no_run(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(attach, "page", fail)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = trained(tmp_path, "summary.answers=0")
    assert trainer.state.global_step == 2
    assert "summary.html was not written: RuntimeError: no" in [str(warning.message) for warning in caught]


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    trainer = build(load("dpo/tiny", [f"train.output_dir={tmp_path}"]))
    trainer.state.is_world_process_zero = False
    for event in ("on_train_begin", "on_log", "on_train_end"):
        getattr(trainer.callback_handler, event)(
            trainer.args, trainer.state, trainer.control, *([{"loss": 1.0}] if event == "on_log" else [])
        )
    monkeypatch.setattr(trainer, "is_world_process_zero", lambda: False)
    trainer.create_model_card()
    assert not {path.name for path in tmp_path.iterdir()} & {"summary.html", "metrics.jsonl", "README.md"}


@pytest.mark.parametrize("recipe", ["nll/tiny", "kto/tiny"])
def test_other_families_answer_too(tmp_path, recipe):
    overrides = [f"train.output_dir={tmp_path}", "summary.max_new_tokens=4", "train.save_strategy=no"]
    build(load(recipe, overrides)).train()
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert page.count("<h3>Prompt ") >= 1
    assert "Not generated" not in page

import json

import pytest
from trl import DPOConfig, KTOConfig, RewardConfig, SFTConfig

from alignkit.data import account
from alignkit.data.errors import DataError
from alignkit.data.sequences import Treatment
from alignkit.models.tiny import byte_tokenizer
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.recipe.inspection import treatment_of
from alignkit.trainers.template import training_template

QUIET = {"output_dir": "runs", "use_cpu": True, "bf16": False, "report_to": "none"}
RECIPE = """
objective: {name: dpo}
model: {path: "tiny:llama"}
data: {train: [{source: pairs.jsonl}]}
train: {output_dir: runs, max_steps: 1, per_device_train_batch_size: 1, max_length: 40, gradient_checkpointing: false,
        save_strategy: "no"}
"""


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (DPOConfig(max_length=9, **QUIET), Treatment(max_length=9)),
        (KTOConfig(max_length=None, **QUIET), Treatment()),
        (RewardConfig(max_length=9, **QUIET), Treatment(max_length=9, truncation="drop")),
        (SFTConfig(max_length=9, packing=True, **QUIET), Treatment(max_length=9)),
        (SFTConfig(max_length=9, packing=True, packing_strategy="wrapped", **QUIET), Treatment()),
        (SFTConfig(completion_only_loss=False, **QUIET), Treatment(max_length=1024, completion_only=False)),
        (SFTConfig(assistant_only_loss=True, **QUIET), Treatment(max_length=1024, assistant_only=True)),
    ],
)
def test_sequences_are_treated_as_the_trainer_will(args, expected):
    assert treatment_of(args) == expected


def test_only_a_template_that_marks_the_assistants_turns_trains_on_them_alone():
    tokenizer = byte_tokenizer()
    assert training_template(tokenizer) == tokenizer.chat_template
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(ValueError, match=r"marks the assistant's turns with {% generation %}.*; write model.chat_t"):
        training_template(tokenizer)


@pytest.fixture
def recipe(write):
    rows = [{"prompt": "2 + 2 =", "chosen": " 4", "rejected": " five"}] * 3
    long = [
        {"prompt": "x" * 50, "chosen": "y", "rejected": "z"},
        {"prompt": "What?", "chosen": "y" * 50, "rejected": "z"},
    ]
    write("".join(json.dumps(row) + "\n" for row in [*rows, *long]), "pairs.jsonl")
    return write(RECIPE)


def test_examples_that_trl_would_drop_are_refused_before_the_model_loads(recipe):
    seen = []
    with pytest.raises(
        DataError, match=r"1 training example has no token .* train.max_length = 40:\n  .*pairs.jsonl:4\n"
    ):
        build(load(recipe), report=seen.append)
    assert seen[0].sets[0].report.total.dropped == 1


def test_a_sample_that_missed_them_does_not_let_them_through(recipe, monkeypatch):
    monkeypatch.setattr(account, "SAMPLE", 1)
    monkeypatch.setattr(account, "AT_LEAST", 1)
    monkeypatch.setattr(account, "picked", lambda sources, *size: [i for i in range(5) if i != 4][:1])
    with pytest.raises(DataError, match=r"1 training example has no token .*:\n  .*pairs.jsonl:4\n"):
        build(load(recipe, ["train.max_length=45"]))


def test_a_run_keeps_its_report_beside_its_recipe(recipe, tmp_path):
    trainer = build(load(recipe, ["data.on_bad_rows=drop", "train.save_strategy=steps", "train.save_steps=1"]))
    assert len(trainer.train_dataset) == 4
    trainer.train()
    for folder in (tmp_path / "runs", tmp_path / "runs" / "checkpoint-1"):
        report = json.loads((folder / "data_report.json").read_text())
        assert report["sets"][0]["report"]["total"]["truncated"] == 1
        assert (folder / "recipe.yaml").exists()


def test_a_limit_of_the_recipe_stops_the_run(recipe):
    with pytest.raises(DataError, match=r"40 % of the training examples are longer than train.max_length = 40"):
        build(load(recipe, ["data.on_bad_rows=drop", "data.max_truncated=1%"]))

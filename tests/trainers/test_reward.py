"""RewardTrainer against TRL's, step by step."""

import json
import math

import pytest
import trl
from datasets import Dataset
from trl import RewardConfig

from alignkit.models.load import load_tokenizer
from alignkit.models.read_once import LastStates
from alignkit.models.reward import load_reward_model, reward_peft_config
from alignkit.models.spec import Adapter, ModelSpec
from alignkit.objectives import make
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.trainers import RewardTrainer
from tests.trainers.runs import ROWS, differences, train

SPEC = ModelSpec(path="tiny:llama")
LORA = reward_peft_config(Adapter(rank=4, targets=("q_proj", "v_proj")))
RANKINGS = [{"prompt": row["prompt"], "answers": [row["chosen"], row["rejected"]]} for row in ROWS]
LONGER = [
    {**row, "answers": [*row["answers"], " ran", " slept all day"][: 2 + i % 3]} for i, row in enumerate(RANKINGS)
]


def ours(tmp_path, rows=ROWS, objective="bradley_terry", spec=SPEC, peft=None, args=None, model=None, **numbers):
    return train(
        RewardTrainer,
        RewardConfig,
        tmp_path,
        rows,
        model=model or load_reward_model(spec, seed=42),
        processing_class=load_tokenizer(SPEC),
        objective=make(objective, **numbers),
        peft_config=peft,
        args=args or {},
    )


def theirs(tmp_path, rows=ROWS, peft=None, args=None):
    """TRL's run from the path; with LoRA from our model, since its draws come after those of the head."""
    options = {"model": load_reward_model(SPEC, seed=42)} if peft else {}
    options |= {"processing_class": load_tokenizer(SPEC), "peft_config": peft, "args": args or {}}
    return train(trl.RewardTrainer, RewardConfig, tmp_path, rows, **options)


@pytest.mark.parametrize("peft", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("steps", [1, 2])
def test_bradley_terry_is_trl_to_the_last_bit(tmp_path, peft, steps):
    args = {"gradient_accumulation_steps": steps}
    known = theirs(tmp_path, peft=peft, args=args)
    gaps = differences(ours(tmp_path, peft=peft, args=args), known)
    names = {
        "loss",
        "grad_norm",
        "accuracy",
        "margin",
        "min_reward",
        "mean_reward",
        "max_reward",
        "eval_loss",
        "num_tokens",
    }
    assert names <= set(gaps)
    assert {name: gap for name, gap in gaps.items() if gap > 1e-7} == {}


def test_margin_and_centring_are_trl_s(tmp_path):
    rows = [{**row, "margin": i % 3 / 2} for i, row in enumerate(ROWS)]
    known = theirs(tmp_path, rows, args={"center_rewards_coefficient": 0.01})
    gaps = differences(ours(tmp_path, rows, margin=True, centering=0.01), known)
    assert max(gaps["loss"], gaps["eval_loss"], gaps["grad_norm"]) <= 1e-6


def test_a_margin_nobody_asked_for_changes_nothing(tmp_path):
    rows = [{**row, "margin": 5.0} for row in ROWS]
    gaps = differences(ours(tmp_path, rows), ours(tmp_path))
    assert gaps["loss"] == 0


def test_rankings_of_two_are_pairs(tmp_path):
    pairs = ours(tmp_path)
    for form in ("full", "pairwise"):
        gaps = differences(ours(tmp_path, RANKINGS, "plackett_luce", form=form), pairs)
        assert max(gaps["loss"], gaps["margin"], gaps["accuracy"]) <= 1e-6
        assert gaps["grad_norm"] <= 1e-5 * pairs[0]["grad_norm"] + 1e-5


@pytest.mark.parametrize(("rows", "name"), [(ROWS, "mmpo_reward"), (LONGER, "plackett_luce")])
def test_the_split_into_micro_batches_never_matters(tmp_path, rows, name):
    runs = [
        ours(
            tmp_path,
            rows,
            name,
            args={"per_device_train_batch_size": 8 // steps, "gradient_accumulation_steps": steps, "max_steps": 2},
        )
        for steps in (1, 4)
    ]
    gaps = differences(*runs)
    assert max(gaps["loss"], gaps["grad_norm"], gaps["mean_reward"] if name == "mmpo_reward" else 0) <= 1e-4
    assert runs[0][0]["loss"] > 0.1


def test_a_row_with_an_answer_that_is_too_long_is_left_out(tmp_path):
    long = [*RANKINGS[:8], {"prompt": "x", "answers": [" a", " b" * 500]}]
    options = {
        "args": RewardConfig(output_dir=str(tmp_path), max_length=400, use_cpu=True, bf16=False, report_to="none")
    }
    options |= {"processing_class": load_tokenizer(SPEC), "objective": make("plackett_luce")}
    run = RewardTrainer(load_reward_model(SPEC), train_dataset=Dataset.from_list(long), **options)
    assert len(run.train_dataset) == 8
    batch = run.data_collator([run.train_dataset[0], run.train_dataset[1]])
    assert batch["ranking_lengths"].tolist() == [2, 2]
    assert batch["attention_mask"].sum(dim=1).tolist() == [
        len(ids) for i in (0, 1) for ids in run.train_dataset[i]["answers_ids"]
    ]


@pytest.mark.parametrize("rows", [ROWS, LONGER], ids=["pairs", "rankings"])
def test_a_frozen_backbone_reads_every_text_once(tmp_path, rows):
    """The same numbers as where it reads them in every epoch, and never more than what is new."""
    objective = "bradley_terry" if rows is ROWS else "plackett_luce"
    model = load_reward_model(SPEC, seed=42)
    read = ours(tmp_path, rows, objective, peft=reward_peft_config(None), model=model)
    answers = sum(len(row.get("answers", "pr")) for row in rows)
    assert isinstance(model.model.forward, LastStates)
    assert len(model.model.forward.rows) == answers
    plain = load_reward_model(SPEC, seed=42)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alignkit.trainers.reward.is_frozen", lambda model: False)
        gaps = differences(ours(tmp_path, rows, objective, peft=reward_peft_config(None), model=plain), read)
    assert not isinstance(plain.model.forward, LastStates)
    assert max(gaps["loss"], gaps["grad_norm"], gaps["accuracy"]) <= 1e-5


def test_the_wrong_objective_is_refused():
    with pytest.raises(TypeError, match="RewardTrainer takes a RewardObjective"):
        RewardTrainer(
            load_reward_model(SPEC),
            args=None,
            processing_class=None,
            train_dataset=Dataset.from_list(ROWS),
            objective=make("dpo"),
        )


@pytest.mark.smoke
@pytest.mark.parametrize(("objective", "ties", "pairs"), [("bradley_terry", "drop", 2), ("mmpo_reward", "half", 3)])
def test_a_recipe_trains_on_ratings(tmp_path, objective, ties, pairs):
    rating = {"prompt": "q", "answers": ["one", "two", "three"], "scores": [5, 1, 5]}
    (tmp_path / "rated.jsonl").write_text(json.dumps(rating), encoding="utf-8")
    settings = {
        "data.train": f"[{{source: {tmp_path}/rated.jsonl}}]",
        "data.eval": "[]",
        "data.ties": ties,
        "train.output_dir": tmp_path / "run",
        "train.eval_strategy": "no",
        "train.max_steps": 1,
    }
    trainer = build(load(f"{objective}/tiny", [f"{name}={value}" for name, value in settings.items()]))
    assert len(trainer.train_dataset) == pairs
    trainer.train()
    assert math.isfinite(trainer.state.log_history[0]["loss"])

"""PairTrainer against DPOTrainer, step by step."""

import pytest
import torch
from trl import DPOConfig, DPOTrainer

from alignkit.objectives import make
from alignkit.trainers import PairTrainer
from tests.trainers.runs import LORA, ROWS, differences, train

ROUNDED = {"logits/chosen", "logits/rejected", "eval_logits/chosen", "eval_logits/rejected"}  # we add padding's zeros


@pytest.mark.parametrize("peft", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("precompute", [False, True], ids=["online", "precomputed"])
def test_the_shared_forward_trains_as_trl_to_rounding(tmp_path, peft, precompute):
    args = {"gradient_accumulation_steps": 2, "precompute_ref_log_probs": precompute}
    theirs = train(DPOTrainer, DPOConfig, tmp_path, args=args, peft_config=peft)
    options = {"objective": make("dpo", beta=0.1), "shared_prefix": True}
    ours = train(PairTrainer, DPOConfig, tmp_path, args=args, peft_config=peft, **options)
    gaps = differences(ours, theirs)
    assert max(gaps["loss"], gaps["rewards/margins"], gaps["entropy"]) <= 1e-5
    assert gaps["grad_norm"] <= 1e-4 * theirs[0]["grad_norm"]


@pytest.mark.parametrize("peft", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("precompute", [False, True], ids=["online", "precomputed"])
@pytest.mark.parametrize("steps", [1, 2])
def test_dpo_is_trl_to_the_last_bit(tmp_path, peft, precompute, steps):
    args = {"gradient_accumulation_steps": steps, "precompute_ref_log_probs": precompute}
    theirs = train(DPOTrainer, DPOConfig, tmp_path, args=args, peft_config=peft)
    ours = train(PairTrainer, DPOConfig, tmp_path, args=args, peft_config=peft, objective=make("dpo", beta=0.1))
    gaps = differences(ours, theirs)
    assert {"loss", "grad_norm", "rewards/chosen", "rewards/margins", "eval_loss", "entropy", "num_tokens"} <= set(gaps)
    assert {name: gap for name, gap in gaps.items() if gap > (1e-7 if name in ROUNDED else 0)} == {}
    assert ours[-1]["train_loss"] < 0.6931  # and it learned


@pytest.mark.parametrize(("objective", "loss"), [(make("ipo", tau=0.1, normalize="token"), "ipo")], ids=["ipo"])
def test_other_losses_are_trl_to_rounding(tmp_path, objective, loss):
    theirs = train(DPOTrainer, DPOConfig, tmp_path, args={"loss_type": loss})
    ours = train(PairTrainer, DPOConfig, tmp_path, objective=objective)
    gaps = differences(ours, theirs)
    assert gaps["loss"] <= 1e-5  # the losses are near 25
    assert gaps["grad_norm"] <= 1e-4


def test_rdpo_is_trl_robust(tmp_path):
    theirs = train(DPOTrainer, DPOConfig, tmp_path, args={"loss_type": "robust", "label_smoothing": 0.2})
    ours = train(PairTrainer, DPOConfig, tmp_path, objective=make("robust_dpo", flip_rate=0.2, form="unbiased"))
    gaps = differences(ours, theirs)
    assert gaps["loss"] <= 1e-6
    assert gaps["grad_norm"] <= 1e-5  # of a norm near 8


def test_a_short_last_step_divides_by_its_own_pairs(tmp_path):
    """Seven pairs in micro-batches of 2, two a step: the second step holds 2 + 1 pairs; TRL averages two means."""
    args = {"gradient_accumulation_steps": 2, "max_steps": 2, "seed": 3}
    ours = train(PairTrainer, DPOConfig, tmp_path, ROWS[:7], args=args, objective=make("dpo"))
    whole = {**args, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 4}
    single = train(PairTrainer, DPOConfig, tmp_path, ROWS[:7], args=whole, objective=make("dpo"))
    theirs = train(DPOTrainer, DPOConfig, tmp_path, ROWS[:7], args=args)
    gaps = differences(ours, single)
    assert max(gaps["loss"], gaps["grad_norm"]) < 1e-5
    assert differences(ours, theirs)["grad_norm"] > 1e-4


@pytest.mark.parametrize(
    "objective",
    [make("dpo"), make("ipo", tau=1.0), make("hdpo"), make("mmpo"), make("robust_dpo")],
    ids=lambda objective: type(objective).__name__,
)
def test_the_split_into_micro_batches_never_matters(tmp_path, objective):
    # not Adam: its first step is the gradient's sign, which blows rounding up before the second loss
    args = {"optim": "sgd", "max_steps": 2}
    runs = [
        train(
            PairTrainer,
            DPOConfig,
            tmp_path,
            objective=objective,
            args={**args, "per_device_train_batch_size": 8 // steps, "gradient_accumulation_steps": steps},
        )
        for steps in (1, 4)
    ]
    gaps = differences(*runs)
    assert gaps["loss"] <= 1e-6
    assert gaps["grad_norm"] <= 1e-5 * max(1, runs[0][0]["grad_norm"])


@pytest.mark.parametrize("precompute", [False, True], ids=["online", "precomputed"])
def test_columns_reach_the_objective_and_not_the_model(tmp_path, precompute):
    args = {"precompute_ref_log_probs": precompute}
    sharp = train(PairTrainer, DPOConfig, tmp_path, args=args, objective=make("mmpo", gamma=2.0, beta=0.1))
    blunt = train(PairTrainer, DPOConfig, tmp_path, args=args, objective=make("mmpo", gamma=0.0, beta=0.1))
    hard = train(PairTrainer, DPOConfig, tmp_path, args=args, objective=make("mmpo", gamma=None, beta=0.1))
    dpo = train(PairTrainer, DPOConfig, tmp_path, args=args, objective=make("dpo", beta=0.1))
    assert hard == dpo
    assert sharp[0]["grad_norm"] < hard[0]["grad_norm"]
    assert blunt[0]["grad_norm"] < 1e-4  # at the reference, equal scores pull nowhere


def test_a_missing_column_is_named_before_training(tmp_path):
    rows = [{name: value for name, value in row.items() if not name.startswith("score")} for row in ROWS]
    with pytest.raises(KeyError, match="score_chosen"):
        train(PairTrainer, DPOConfig, tmp_path, rows, objective=make("mmpo"))


def test_the_auxiliary_loss_of_experts_is_averaged_over_micro_batches(tmp_path):
    from alignkit.models.sources import resolve

    args = {"gradient_accumulation_steps": 2, "router_aux_loss_coef": 0.5}
    model = resolve("tiny:mixtral")
    theirs = train(DPOTrainer, DPOConfig, tmp_path, args=args, model=model)
    ours = train(PairTrainer, DPOConfig, tmp_path, args=args, model=model, objective=make("dpo"))
    gaps = differences(ours, theirs)
    assert theirs[0]["aux_loss"] > 0
    assert max(gaps["loss"], gaps["grad_norm"], gaps["aux_loss"], gaps["eval_loss"]) <= 1e-6


def test_dynamic_q_starts_at_one(tmp_path):
    history = train(PairTrainer, DPOConfig, tmp_path, objective=make("napo", beta=0.1))
    assert history[0]["loss"] == pytest.approx(0.5, abs=1e-6)  # (1 - sigmoid(0)^1) / 1


def test_an_objective_of_another_family_is_refused(tmp_path):
    with pytest.raises(TypeError, match="PairTrainer takes a PairObjective; NLL"):
        train(PairTrainer, DPOConfig, tmp_path, objective=make("nll"))


def test_compute_metrics_is_refused_where_it_would_need_logits(tmp_path):
    with pytest.raises(ValueError, match="compute_metrics reads logits"):
        train(PairTrainer, DPOConfig, tmp_path, objective=make("dpo"), compute_metrics=lambda prediction: {})


def test_gradient_checkpointing_changes_nothing(tmp_path):
    plain, checkpointed = (
        train(PairTrainer, DPOConfig, tmp_path, objective=make("dpo"), args={"gradient_checkpointing": on})
        for on in (False, True)
    )
    assert plain == checkpointed
    assert torch.get_default_dtype() == torch.float32

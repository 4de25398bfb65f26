"""TokenTrainer against SFTTrainer, step by step."""

import pytest
from trl import SFTConfig, SFTTrainer

from alignkit.objectives import make
from alignkit.trainers import TokenTrainer
from tests.trainers.runs import LORA, TEXTS, differences, train


@pytest.mark.parametrize(("peft", "steps"), [(None, 1), (LORA, 2)], ids=["full", "lora"])
@pytest.mark.parametrize(
    ("objective", "loss"), [(make("mixce", eta=1), "nll"), (make("nll"), "nll"), (make("mixce", eta=0), "dft")]
)
def test_the_limits_are_trl_to_the_last_bit(tmp_path, objective, loss, peft, steps):
    args = {"gradient_accumulation_steps": steps}
    theirs = train(SFTTrainer, SFTConfig, tmp_path, TEXTS, args={**args, "loss_type": loss}, peft_config=peft)
    ours = train(TokenTrainer, SFTConfig, tmp_path, TEXTS, args=args, peft_config=peft, objective=objective)
    gaps = differences(ours, theirs)
    assert {"loss", "grad_norm", "eval_loss", "entropy", "mean_token_accuracy", "num_tokens"} <= set(gaps)
    assert gaps.pop("eval_loss") <= 1e-6  # transformers rounds when it averages copies of it
    assert {name: gap for name, gap in gaps.items() if gap} == {}


@pytest.mark.parametrize("packing", [False, True])
def test_packing_trains_the_same_tokens(tmp_path, packing):
    args = {"packing": packing, "max_length": 128, "max_steps": 2}
    theirs = train(SFTTrainer, SFTConfig, tmp_path, TEXTS, args=args)
    ours = train(TokenTrainer, SFTConfig, tmp_path, TEXTS, args=args, objective=make("nll"))
    gaps = differences(ours, theirs)
    assert gaps.pop("eval_loss") <= 1e-6  # as above
    assert max(gaps.values()) == 0


@pytest.mark.parametrize("joined", ["packing", "padding_free"])
def test_joined_texts_take_our_forward_and_train_as_trl_to_rounding(tmp_path, joined, caplog):
    args = {joined: True, "max_length": 128 if joined == "packing" else None, "max_steps": 2}
    theirs = train(SFTTrainer, SFTConfig, tmp_path, TEXTS, args=args)
    ours = train(TokenTrainer, SFTConfig, tmp_path, TEXTS, args=args, objective=make("nll"), shared_prefix=True)
    gaps = differences(ours, theirs)
    assert max(gaps.values()) <= 1e-5
    assert not [line for line in caplog.messages if "rows run as they are" in line]


def test_the_split_into_micro_batches_never_matters(tmp_path):
    runs = [
        train(
            TokenTrainer,
            SFTConfig,
            tmp_path,
            TEXTS,
            objective=make("mixce", eta=0.3),
            args={"per_device_train_batch_size": 8 // steps, "gradient_accumulation_steps": steps, "max_steps": 2},
        )
        for steps in (1, 4)
    ]
    gaps = differences(*runs)
    assert max(gaps["loss"], gaps["grad_norm"]) <= 1e-6

"""PoFT in TokenTrainer, against its formula from plain logits."""

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.trainers import TokenTrainer
from tests.trainers.runs import TEXTS, differences, train

SCORED = [{**row, "aligned_logps": -5.0 - i / 4} for i, row in enumerate(TEXTS)]
BETA, GAMMA = 1.5, 0.25


def build(tmp_path, **args):
    fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    options = {"output_dir": str(tmp_path), "per_device_train_batch_size": 4, "max_steps": 1, **fixed, **args}
    return TokenTrainer(
        model=resolve("tiny:llama"),
        args=SFTConfig(**options),
        train_dataset=Dataset.from_list(SCORED[:4]),
        objective=make("poft", beta=BETA, gamma=GAMMA),
    )


def by_hand(model, tokenizer, row, whole_text):
    """The loss of one example."""
    asked = tokenizer(row["prompt"])["input_ids"]
    ids = torch.tensor([tokenizer(row["prompt"] + row["completion"] + tokenizer.eos_token)["input_ids"]])
    logps = model(input_ids=ids).logits[0, :-1].log_softmax(dim=-1).gather(1, ids[0, 1:, None])[:, 0]
    mean = logps.mean() if whole_text else logps[len(asked) - 1 :].mean()
    return torch.log1p(torch.exp(-BETA * (mean - row["aligned_logps"]) - GAMMA))


@pytest.mark.parametrize("whole_text", [False, True], ids=["answer", "official"])
def test_loss_and_gradient_are_those_written_by_hand(tmp_path, whole_text):
    """The authors' code averages the target over prompt and answer: completion_only_loss=False."""
    run = build(tmp_path, completion_only_loss=not whole_text)
    path = resolve("tiny:llama")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    expected = sum(by_hand(model, tokenizer, row, whole_text) for row in SCORED[:4]) / 4
    expected.backward()
    [inputs] = list(run.get_train_dataloader())
    loss = run.compute_loss(run.model, inputs)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    for ours, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5 * float(theirs.grad.abs().max()))


def test_the_split_into_micro_batches_never_matters(tmp_path):
    runs = [
        train(
            TokenTrainer,
            SFTConfig,
            tmp_path,
            SCORED,
            objective=make("poft"),
            args={"per_device_train_batch_size": 8 // steps, "gradient_accumulation_steps": steps, "max_steps": 2},
        )
        for steps in (1, 4)
    ]
    gaps = differences(*runs)
    assert max(gaps["loss"], gaps["grad_norm"], gaps["aligned_gap"], gaps["eval_loss"]) <= 2e-6
    assert runs[0][0]["loss"] > 0.1


def test_the_last_step_divides_by_its_own_examples(tmp_path):
    """Seven texts in micro-batches of 2, two a step: the second step holds 2 + 1."""
    args = {"max_steps": 2, "seed": 3}
    split, whole = (
        train(TokenTrainer, SFTConfig, tmp_path, SCORED[:7], objective=make("poft"), args={**args, **sizes})
        for sizes in (
            {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
            {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
        )
    )
    gaps = differences(split, whole)
    assert max(gaps["loss"], gaps["grad_norm"]) <= 2e-6


@pytest.mark.parametrize(("option", "length"), [("packing", 64), ("padding_free", None)])
def test_joined_texts_are_refused(tmp_path, option, length):
    with pytest.raises(ValueError, match=f"{option} joins texts, and this objective reads aligned_logps of each"):
        build(tmp_path, **{option: True, "max_length": length})


def test_texts_that_aligned_models_like_weigh_more(tmp_path):
    """The gradient is that of supervised fine-tuning, weighted: scores far above the model's weigh 1, far below 0."""
    norms = []
    for score in (100.0, -100.0):
        rows = [{**row, "aligned_logps": score} for row in TEXTS]
        norms.append(train(TokenTrainer, SFTConfig, tmp_path, rows, objective=make("poft"))[0]["grad_norm"])
    assert norms[1] < 1e-6 < norms[0]

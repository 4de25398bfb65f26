"""A loss or a gradient that is no finite number makes no update: the run ends, or leaves the step out."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch import equal

from alignkit.trainers import Diverged
from alignkit.trainers._nonfinite import refuse_unchecked
from tests.faults.runs import SAVED, At, logged, trainer

pytestmark = pytest.mark.smoke

FOUR = (*SAVED, "train.max_steps=4")


class Spoilt:
    """An objective one of whose calls in training gives numbers that are none."""

    def __init__(self, objective, value: float, call: int) -> None:
        self.objective, self.value, self.call = objective, value, call

    def __getattr__(self, name):
        return getattr(self.objective, name)

    def __call__(self, batch):
        loss = self.objective(batch)
        if not batch.chosen.requires_grad:  # the trainer counts on zeros first
            return loss
        self.call -= 1
        first = torch.arange(len(loss.terms)) == 0
        return replace(loss, terms=torch.where(first, self.value, loss.terms)) if self.call == 0 else loss


def spoilt(folder, *overrides, value=float("nan"), call=5):
    """A run whose third step has a bad first row in its first micro-batch of two."""
    run = trainer("dpo/tiny", folder, *FOUR, *overrides)
    run.objective = Spoilt(run.objective, value, call)
    return run


def weights(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_none_ends_the_run_before_the_update(value, tmp_path):
    run = spoilt(tmp_path, value=value)
    seen: list[dict] = []
    run.add_callback(At("on_step_begin", 2, lambda: seen.append(weights(run))))
    with pytest.raises(Diverged) as caught:
        run.train()
    file = tmp_path / "nonfinite-3.json"
    assert str(caught.value) == (
        f"the loss is not finite at step 3 (rank 0). No update was made from it. Rows: {file}. Try a smaller "
        "train.learning_rate than 0.001, a smaller train.max_grad_norm, or train.on_nonfinite: skip to leave such "
        "steps out"
    )
    assert all(equal(tensor, seen[0][name]) for name, tensor in run.model.state_dict().items())
    record = json.loads(file.read_text())
    assert record["step"] == 3
    chosen, rejected = record["rows"]
    assert chosen != rejected
    assert chosen.split("\n")[0] == rejected.split("\n")[0], "one pair: two answers to a prompt"
    assert [entry["step"] for entry in logged(run)] == [1, 2]


def test_a_step_can_be_left_out(tmp_path):
    run = spoilt(tmp_path, "train.on_nonfinite=skip")
    seen: dict[int, dict] = {}
    for step in (2, 3):
        run.add_callback(At("on_step_begin", step, lambda step=step: seen.update({step: weights(run)})))
    run.train()
    assert all(equal(tensor, seen[3][name]) for name, tensor in seen[2].items())
    assert all(tensor.isfinite().all() for tensor in run.model.state_dict().values())
    assert not equal(run.model.lm_head.weight, seen[3]["lm_head.weight"]), "later steps train"
    assert [entry.get("skipped_steps") for entry in logged(run)] == [None, None, 1.0, None]
    assert (tmp_path / "nonfinite-3.json").is_file()


def test_a_gradient_that_is_none_ends_the_run(tmp_path):
    run = trainer("dpo/tiny", tmp_path, *FOUR)
    run.add_callback(
        At("on_step_begin", 1, lambda: run.model.lm_head.weight.register_hook(lambda gradient: gradient * float("nan")))
    )
    with pytest.raises(Diverged, match=r"^the gradient is not finite at step 2 \(rank 0\)"):
        run.train()
    rows = json.loads((tmp_path / "nonfinite-2.json").read_text())["rows"]
    assert len(rows) == len(set(rows)) == 8, "two micro-batches of two pairs, and none of the step before"
    assert "<|pad|>" not in "".join(rows)
    assert all(tensor.isfinite().all() for tensor in run.model.state_dict().values())


def test_float16_s_scaler_is_left_alone_until_its_scale_is_one(tmp_path, monkeypatch):
    """A gradient that overflows may be mended by a smaller scale; one that is no number without any is not.

    The scaler is a GPU's, on a CPU, where accelerate makes none.
    """
    run = trainer("dpo/tiny", tmp_path, *FOUR)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    unscale = lambda accelerator, optimizer=None: scaler.unscale_(run.optimizer.optimizer)  # noqa: E731
    monkeypatch.setattr(Accelerator, "unscale_gradients", unscale)
    run.accelerator.scaler, run.args.fp16 = scaler, True
    seen = {}
    for step in range(4):
        note = lambda step=step: seen.update({step: (scaler.get_scale(), weights(run))})  # noqa: E731
        run.add_callback(At("on_step_begin", step, note))
    run.add_callback(
        At("on_step_begin", 1, lambda: run.model.lm_head.weight.register_hook(lambda gradient: gradient * float("nan")))
    )
    with pytest.raises(Diverged, match=r"^the gradient is not finite at step 4 \(rank 0\)"):
        run.train()
    assert [scale for scale, _ in seen.values()] == [4, 4, 2, 1]
    assert not equal(seen[0][1]["lm_head.weight"], seen[1][1]["lm_head.weight"]), "a step whose gradient is one"
    assert all(equal(tensor, seen[1][1][name]) for name, tensor in run.model.state_dict().items())
    assert [file.name for file in tmp_path.glob("nonfinite-*.json")] == ["nonfinite-4.json"]


def test_a_loss_of_sampled_answers_is_named_as_one(tmp_path):
    run = trainer("grpo/tiny", tmp_path, *SAVED, "train.max_steps=2", "train.per_device_train_batch_size=8")
    objective = run.objective

    class Spoils(type(objective)):
        def __call__(self, batch):
            loss = super().__call__(batch)
            last = torch.arange(len(loss.terms)).view(-1, *[1] * (loss.terms.ndim - 1)) == len(loss.terms) - 1
            return replace(loss, terms=loss.terms.masked_fill(last, torch.nan)) if batch.logps.requires_grad else loss

    run.objective = Spoils(**vars(objective))
    drawn = []
    score = run.reward_funcs[0]

    def note(prompts, **columns):
        drawn.extend(prompts)
        return score(prompts=prompts, **columns)

    run.reward_funcs[0] = note
    with pytest.raises(Diverged, match=r"^the loss is not finite at step 1 \(rank 0\)"):
        run.train()
    rows = json.loads((tmp_path / "nonfinite-1.json").read_text())["rows"]
    assert len(drawn) == 8
    assert drawn[0] != drawn[-1]
    assert [row.startswith(drawn[-1]) for row in rows] == [True] * 4, "the group whose loss it is, of two"
    assert len(set(rows)) == 4, "with its answers"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"zero_optimization": {"stage": 0}}, "zero_optimization.stage: 0"),
        ({"zero_optimization": {"stage": 2, "compute_grad_norm": False}}, "zero_optimization.compute_grad_norm: false"),
        (
            {"zero_optimization": {"stage": 2}, "bf16": {"check_grad_overflow": False}},
            "bf16.check_grad_overflow: false",
        ),
    ],
)
def test_a_deepspeed_that_would_update_from_such_a_gradient_is_refused(config, named):
    """What it does otherwise is in test_two_ranks.py."""
    with pytest.raises(ValueError, match=f"^DeepSpeed with {named} updates weights from gradients that are no numbers"):
        refuse_unchecked(SimpleNamespace(deepspeed_config=config))


def test_a_deepspeed_that_looks_is_not_refused():
    for config in (
        {"zero_optimization": {"stage": 2}, "bf16": {"enabled": True}},
        {"zero_optimization": {"stage": 3}, "bf16": {"enabled": True, "check_grad_overflow": False}},
        {"fp16": {"enabled": True}},
    ):
        refuse_unchecked(SimpleNamespace(deepspeed_config=config))

"""UnpairedTrainer against KTOTrainer on the same batches, and the batches themselves."""

import pytest
import torch
from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.trainers import UnpairedTrainer
from tests.trainers.runs import LORA, ROWS, differences, train

LABELS = {"chosen": True, "rejected": False}
ANSWERS = [
    {"prompt": row["prompt"], "completion": row[name], "label": label}
    for name, label in LABELS.items()
    for row in ROWS  # blocks of one class, as pairs become in TRL
]
WEIGHTS = {"desirable_weight": 1.25, "undesirable_weight": 0.75}


def build(tmp_path, rows=ANSWERS, trainer=UnpairedTrainer, objective=None, **options):
    args = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-3, **options.pop("args", {})}
    fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    args = KTOConfig(output_dir=str(tmp_path), **{"logging_steps": 1, **fixed, **args})
    extra = {"objective": objective or make("kto")} if trainer is UnpairedTrainer else {}
    options.setdefault("eval_dataset", Dataset.from_list(rows[14:18]))
    model = options.pop("model", resolve("tiny:llama"))
    return trainer(model=model, args=args, train_dataset=Dataset.from_list(rows), **extra, **options)


class OurBatches(KTOTrainer):
    """TRL's trainer on the batches of one of ours."""

    source: UnpairedTrainer

    def get_train_dataloader(self):
        return self.source.get_train_dataloader()

    def get_eval_dataloader(self, eval_dataset=None):
        return self.source.get_eval_dataloader()


def logged(run):
    run.train()
    skipped = ("runtime", "per_second", "epoch", "flos")
    return [
        {name: value for name, value in entry.items() if not any(word in name for word in skipped)}
        for entry in run.state.log_history
    ]


@pytest.mark.parametrize(("peft", "steps"), [(None, 2), (LORA, 1)], ids=["full", "lora"])
def test_kto_is_trl_on_the_same_batches(tmp_path, peft, steps):
    args = {"gradient_accumulation_steps": steps, "eval_strategy": "steps", "eval_steps": 2}
    ours = build(tmp_path, args=args, peft_config=peft, objective=make("kto", beta=0.2, **WEIGHTS))
    theirs = build(tmp_path, trainer=OurBatches, args={**args, "beta": 0.2, **WEIGHTS}, peft_config=peft)
    theirs.source = ours
    trl = logged(theirs)
    gaps = differences(logged(ours), trl)
    assert {"grad_norm", "rewards/margins", "logps/rejected", "logits/chosen", "entropy", "kl"} <= set(gaps)
    assert max(gaps.pop("loss"), gaps.pop("eval_loss")) <= 1e-6
    assert all(entry["kl"] >= 0 for entry in trl if "kl" in entry)  # TRL logs it clamped, we as it is
    assert max(gaps.values()) <= 5e-5  # of log-probs near -200


def test_a_reference_reads_answers_and_mismatched_ones_in_one_go(tmp_path, monkeypatch):
    run = build(tmp_path, rows=[{**row, "prompt": f"Where the sun sets, {row['prompt']}"} for row in ANSWERS])
    batches = run.get_train_dataloader()
    inputs = next(one for one in batches if one["input_ids"].size(1) != one["KL_input_ids"].size(1))
    expected = KTOTrainer.compute_ref_log_probs(run, run.ref_model, inputs)
    read: list[int] = []
    run.ref_model.model.embed_tokens.register_forward_hook(lambda layer, inputs, output: read.append(inputs[0].numel()))
    found = run.compute_ref_log_probs(run.ref_model, inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)  # of log-probs near -200
    assert len(read) == 1
    rows = torch.cat((inputs["attention_mask"].sum(dim=1), inputs["KL_attention_mask"].sum(dim=1)))
    prompts = (inputs["attention_mask"] - inputs["completion_mask"]).sum()
    assert read[0] <= rows.sum() - prompts
    assert KTOTrainer.compute_ref_log_probs(run, run.ref_model, inputs)[1] is not None


def test_one_collated_batch_gives_trl_s_loss_and_gradient(tmp_path):
    """Away from the reference, where the KL estimate matters."""
    ours = build(tmp_path, objective=make("kto", beta=0.05, **WEIGHTS))
    theirs = build(tmp_path, trainer=KTOTrainer, args={"beta": 0.05, **WEIGHTS})
    generator = torch.Generator().manual_seed(0)
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        shift = 0.05 * torch.randn(a.shape, generator=generator)
        a.data += shift
        b.data += shift
    for inputs in ours.get_train_dataloader():
        losses = [run.compute_loss(run.model, dict(inputs)) for run in (ours, theirs)]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(*losses, rtol=0, atol=2e-7)
    grads = [[p.grad for p in run.model.parameters() if p.grad is not None] for run in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
    assert max(grad.abs().max() for grad in grads[0]) > 1e-3


def test_every_micro_batch_holds_both_classes_and_every_epoch_is_shuffled_anew(tmp_path):
    run = build(tmp_path)
    epochs = []
    for epoch in (0.0, 1.0, 0.0):
        run.state.epoch = epoch
        batches = list(run.get_train_dataloader())
        assert all(batch["label"].any() and not batch["label"].all() for batch in batches)
        epochs.append([tuple(row.tolist()) for batch in batches for row in batch["input_ids"]])
    assert epochs[0] == epochs[2] != epochs[1]
    assert len(epochs[0]) == len(ANSWERS)


def test_the_seed_draws_the_order(tmp_path):
    orders = [list(build(tmp_path, args=args)._get_train_sampler()) for args in ({}, {"seed": 1}, {"data_seed": 1})]
    assert orders[0] != orders[1] == orders[2]


def test_mismatched_answers_are_the_micro_batch_s_own(tmp_path):
    """Also with several workers, whose shards TRL mismatches on their own."""
    run = build(tmp_path, args={"dataset_num_proc": 2})
    for inputs in run.get_train_dataloader():
        prompts, answers = parts(inputs, "")
        same_prompts, others = parts(inputs, "KL_")
        assert prompts == same_prompts
        assert set(others) <= set(answers)
        assert sorted(others) == sorted(answers) or len(set(prompts)) < len(prompts)


def parts(inputs, prefix):
    """Prompts and answers of a batch, as tuples of tokens."""
    rows = zip(*(inputs[f"{prefix}{name}"] for name in ("input_ids", "attention_mask", "completion_mask")), strict=True)
    split = [(ids[(real == 1) & (answer == 0)], ids[answer == 1]) for ids, real, answer in rows]
    return [tuple(prompt.tolist()) for prompt, _ in split], [tuple(answer.tolist()) for _, answer in split]


def test_evaluation_sees_every_row_once_in_a_fixed_order(tmp_path):
    run = build(tmp_path, eval_dataset=Dataset.from_list(ANSWERS[9:20]), args={"per_device_eval_batch_size": 4})
    passes = []
    for epoch in (0.0, 1.0):
        run.state.epoch = epoch
        batches = list(run.get_eval_dataloader())
        passes.append([row.tolist() for batch in batches for row in batch["completion_mask"]])
    assert passes[0] == passes[1]
    assert len(passes[0]) == 11


def test_other_evaluation_data_are_taken(tmp_path):
    run = build(tmp_path)
    before = run.evaluate()["eval_loss"]
    assert run.evaluate(eval_dataset=Dataset.from_list(ANSWERS[14:18]))["eval_loss"] == before
    both = {"a": Dataset.from_list(ANSWERS[14:18]), "b": Dataset.from_list(ANSWERS[:2])}
    run = build(tmp_path, eval_dataset=both)
    assert {"eval_a_loss", "eval_b_loss"} <= set(run.evaluate())


def test_a_resumed_run_sees_what_it_would_have_seen(tmp_path):
    """Six steps of eight rows are an epoch and a half; the checkpoint is in the second epoch."""
    rows = ANSWERS[:12] + ANSWERS[16:28]
    args = {"max_steps": 6, "per_device_train_batch_size": 8, "save_strategy": "steps", "save_steps": 4}
    whole = logged(build(tmp_path / "whole", rows, args=args))
    resumed = build(tmp_path / "resumed", rows, args=args)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    losses = [[entry["loss"] for entry in history if "loss" in entry] for history in (whole, resumed.state.log_history)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_the_weights_are_the_objectives(tmp_path):
    plain, heavy = (
        train(UnpairedTrainer, KTOConfig, tmp_path, ANSWERS, objective=make("kto", desirable_weight=weight))
        for weight in (1.0, 3.0)
    )
    assert plain[0]["loss"] == pytest.approx(0.5)
    assert heavy[0]["loss"] == pytest.approx(1.0)  # (3 + 1) / 4


@pytest.mark.parametrize(
    ("rows", "args", "message"),
    [
        (ANSWERS[:16], {}, "all 16 answers are desirable"),
        (ANSWERS[16:], {}, "all 16 answers are undesirable"),
        ([{**row, "prompt": "Hi"} for row in ANSWERS], {}, "all answers have the same prompt"),
        (ANSWERS[:18], {}, "2 undesirable answers among 18 cannot be in each of 5 micro-batches of 4 .* at least 9"),
        (ANSWERS, {"per_device_train_batch_size": 1}, r"batch size must be > 1"),
        (ANSWERS, {"precompute_ref_log_probs": True}, "precompute_ref_log_probs: .* remove it"),
    ],
    ids=["liked", "disliked", "one prompt", "rare", "batch of one", "precompute"],
)
def test_data_that_teach_nothing_are_refused_before_the_first_step(tmp_path, rows, args, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, rows, args=args)


def test_streams_are_refused(tmp_path):
    stream = Dataset.from_list(ANSWERS).to_iterable_dataset()
    args = KTOConfig(output_dir=str(tmp_path), max_steps=1, use_cpu=True, bf16=False, report_to="none")
    with pytest.raises(ValueError, match="streamed answers come in the order they have"):
        UnpairedTrainer(model=resolve("tiny:llama"), args=args, train_dataset=stream, objective=make("kto"))

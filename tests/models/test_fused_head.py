import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer
from trl.trainer import add_fused_lm_head

from alignkit.models.answer_head import FIELDS, Logits
from alignkit.models.forward import answer_logps
from alignkit.models.fused_head import Head, head_of, kernel_score, trl_score, with_fused_head
from alignkit.models.load import load_tokenizer
from alignkit.models.spec import ModelSpec
from alignkit.models.tiny import tiny

BATCH = {"input_ids": torch.arange(12).view(2, 6), "labels": torch.arange(12).view(2, 6)}
PAIRS = [{"prompt": f"{i} and", "chosen": " one" * (i + 1), "rejected": " two three"} for i in range(4)]


def llama():
    return AutoModelForCausalLM.from_pretrained(tiny("llama"))


@pytest.fixture
def trainer(tmp_path):
    args = DPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=4
    )
    spec = ModelSpec(path="tiny:llama")
    data = Dataset.from_list(PAIRS)
    return DPOTrainer(str(tiny("llama")), args=args, train_dataset=data, processing_class=load_tokenizer(spec))


def test_log_probs_are_trl_s_to_the_bit(trainer):
    batch = next(iter(trainer.get_train_dataloader()))
    chosen, rejected = trainer.compute_ref_log_probs(trainer.ref_model, batch)
    answers = answer_logps(trainer.ref_model, batch)
    assert torch.equal(answers.logps.sum(dim=1), torch.cat([chosen, rejected]))
    assert answers.entropy is None  # TRL asks its reference for nothing but log-probs
    trained = answer_logps(trainer.model, batch)
    assert torch.equal(trained.logps, answers.logps)
    assert trained.entropy is not None


def test_a_patched_model_is_not_patched_again(trainer):
    forward = trainer.model.forward
    assert with_fused_head(trainer.model).forward == forward
    model = with_fused_head(llama())
    forward = model.forward
    assert with_fused_head(model).forward == forward


@pytest.fixture
def bfloat16_accelerator():
    AcceleratorState._reset_state(True)  # accelerate fixes the precision of a process once
    yield Accelerator(cpu=True, mixed_precision="bf16")
    AcceleratorState._reset_state(True)


@pytest.mark.parametrize("shared_prefix", [False, True])
def test_the_patch_is_seen_through_accelerate_s_autocast(bfloat16_accelerator, shared_prefix):
    model, options = with_fused_head(llama()), {"shared_prefix": shared_prefix}
    expected = answer_logps(model, BATCH, **options).logps
    with torch.autocast("cpu", torch.bfloat16):
        rounded = answer_logps(model, BATCH, **options).logps
    assert not torch.equal(rounded, expected)
    prepared = bfloat16_accelerator.prepare_model(with_fused_head(llama()))
    forward = prepared.forward
    assert torch.equal(answer_logps(prepared, BATCH, **options).logps, rounded)
    assert prepared.forward == forward


def test_a_compiled_model_is_patched_inside():
    model = llama()
    compiled = torch.compile(model, backend="eager")
    assert with_fused_head(compiled) is compiled
    assert "forward" in vars(model)


def test_an_adapter_on_the_head_is_refused():
    model = get_peft_model(llama(), LoraConfig(task_type="CAUSAL_LM", target_modules=["lm_head"]))
    with pytest.raises(ValueError, match="an adapter on lm_head would be ignored by the fused head"):
        with_fused_head(model)


def test_what_trl_read_is_read_off_its_patch():
    model = AutoModelForCausalLM.from_pretrained(tiny("gemma2"))
    add_fused_lm_head(model, temperature=0.7, cast_lm_head_to_fp32=True, outputs=("log_probs", "is_top1"))
    assert head_of(model) == Head(
        logits=Logits(scale=1.0, softcap=30.0, temperature=0.7),
        float32=True,
        fields=("is_top1",),
        backbone="base_model",
    )
    answers, expected = (answer_logps(model, BATCH, shared_prefix=shared) for shared in (True, False))
    torch.testing.assert_close(answers.logps, expected.logps, atol=1e-5, rtol=0)
    assert answers.entropy is None
    assert torch.equal(answers.is_top1, expected.is_top1)


def test_a_float32_head_is_out_of_autocast_s_reach():
    model = llama()
    add_fused_lm_head(model, cast_lm_head_to_fp32=True)
    with torch.autocast("cpu", torch.bfloat16):
        answers, expected = (answer_logps(model, BATCH, shared_prefix=shared).logps for shared in (True, False))
    torch.testing.assert_close(answers, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("logits", [Logits(), Logits(scale=0.5, softcap=5.0, temperature=2.0)], ids=str)
def test_trl_s_kernel_stands_in_for_ours(logits):
    """On GPUs it does; here both run on the CPU."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((9, 16), (40, 16), (40,))
    hidden, weight, bias = (torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes)
    targets = torch.randint(40, (9,), generator=generator)
    found = [score(hidden, weight, bias, targets, logits, FIELDS) for score in (kernel_score, trl_score)]
    gradients = [torch.autograd.grad(scores[0].square().sum(), (hidden, weight, bias)) for scores in found]
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    assert not found[1][1].requires_grad

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer

from alignkit.models.forward import answer_logps
from alignkit.models.fused_head import with_fused_head
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


def test_the_patch_is_seen_through_accelerate_s_autocast(bfloat16_accelerator):
    model = with_fused_head(llama())
    expected = model(**BATCH, fused_lm_head=True).log_probs
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(**BATCH, fused_lm_head=True).log_probs
    assert not torch.equal(rounded, expected)
    prepared = bfloat16_accelerator.prepare_model(model)
    forward = prepared.forward
    assert torch.equal(answer_logps(prepared, BATCH).logps, rounded)
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

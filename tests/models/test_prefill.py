"""A prompt that is read once is continued as if it had been read for every answer."""

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from transformers import GenerationConfig

from alignkit.models.prefill import prompts_read_once, read_prompts
from tests.models.shared import model_of, without_dropout

PROMPTS, ANSWERS = (70, 40), 3  # tokens; the longer one is longer than the sliding windows
CONFIG = GenerationConfig(max_new_tokens=12, do_sample=True, top_k=None, pad_token_id=0, eos_token_id=[300])


def batch(prompts=PROMPTS, answers=ANSWERS):
    """Each prompt as often as it has answers, padded on the left."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.zeros(len(prompts), max(prompts), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(prompts):
        ids[row, -length:] = torch.randint(1, 256, (length,), generator=generator)
        mask[row, -length:] = 1
    return {"input_ids": ids.repeat_interleave(answers, 0), "attention_mask": mask.repeat_interleave(answers, 0)}


def drawn(model, inputs, config=CONFIG):
    torch.manual_seed(3)
    return model.generate(**inputs, generation_config=config)


@pytest.fixture
def read(monkeypatch):
    """Tokens that go through a model, call by call."""
    found = []

    def watched(model):
        model.register_forward_pre_hook(
            lambda _, args, kwargs: found.append(kwargs["input_ids"].numel()), with_kwargs=True
        )
        return model

    watched.calls = found
    return watched


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3_text", "qwen3_moe", "gpt2"])
def test_the_same_seed_draws_the_same_answers(family, read):
    model, inputs = read(without_dropout(model_of(family)).eval()), batch()
    expected = drawn(model, inputs)
    assert read.calls[0] == 6 * 70
    read.calls.clear()
    with prompts_read_once(model):
        assert torch.equal(drawn(model, inputs), expected)
    assert read.calls[:2] == [2 * 69, 6]
    assert len({tuple(row.tolist()) for row in expected}) == 6


def test_gradient_checkpointing_changes_nothing():
    model, inputs = model_of("llama"), batch()
    expected = drawn(model, inputs)
    model.gradient_checkpointing_enable()
    with prompts_read_once(model):
        assert torch.equal(drawn(model, inputs), expected)


def test_afterwards_generate_is_what_it_was():
    model = model_of("llama")
    with prompts_read_once(model):
        assert "generate" in vars(model)
    assert "generate" not in vars(model)


def kept(model, inputs, config=CONFIG):
    return read_prompts(model, **inputs, config=config)


def test_where_it_would_not_be_the_same_every_answer_reads_its_prompt(read):
    model = model_of("llama")
    assert kept(model, batch())
    assert not kept(model, batch(answers=1))
    assert not kept(model, batch(prompts=(12, 9)))  # too short to be worth it
    for option in ({"num_beams": 2}, {"num_return_sequences": 2}, {"cache_implementation": "static"}):
        assert not kept(model, batch(), GenerationConfig(do_sample=True, **option))
    assert not kept(model_of("llama", attention_dropout=0.1), batch())
    assert kept(model_of("llama", attention_dropout=0.1).eval(), batch())
    prompts = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    assert not kept(get_peft_model(model_of("llama"), prompts), batch())
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert not kept(model_of("llama", rope_parameters=dynamic, max_position_embeddings=32), batch())
    model.config.model_type = "unknown"
    assert not kept(model, batch())


def test_prompts_with_pictures_are_generated_as_ever(read):
    model = read(model_of("llama").eval())
    with prompts_read_once(model):
        torch.manual_seed(3)
        model.generate(**batch(), generation_config=CONFIG, logits_to_keep=1)
    assert read.calls[0] == 6 * 70

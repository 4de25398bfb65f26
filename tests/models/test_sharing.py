import logging

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from alignkit.models import sharing
from alignkit.models.adapters import peft_config
from alignkit.models.forward import answer_logps
from alignkit.models.sharing import FAMILIES, packed_rows
from alignkit.models.spec import Adapter
from alignkit.models.tiny import ARCHITECTURES, SIZES
from tests.models.shared import MORE, TIED, answers_and_gradients, assert_same, model_of, pairs, without_dropout

EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe")


@pytest.fixture(autouse=True)
def lines_are_said_anew():
    sharing._say.cache_clear()


def packed(model, batch):
    asked = torch.nn.functional.pad(batch["completion_mask"][:, 1:].bool(), (0, 1))
    inputs = {name: value for name, value in batch.items() if name != "completion_mask"}
    return packed_rows(model, inputs, asked, trim=True)


def test_the_families_are_those_tested_here():
    assert {*ARCHITECTURES, *MORE} == FAMILIES


@pytest.mark.parametrize("family", [*ARCHITECTURES, *MORE, *TIED])
@pytest.mark.parametrize("padding", ["right", "left"])
def test_shared_tokens_change_nothing(family, padding, monkeypatch):
    model, batch = without_dropout(model_of(family)), pairs(padding=padding)
    if family == "gpt2" and padding == "left":  # its positions are absolute, and transformers count the padding
        expected = answers_and_gradients(model, pairs(), monkeypatch)
        found = answers_and_gradients(model, batch)
        torch.testing.assert_close(found[0].logps[found[0].mask], expected[0].logps[expected[0].mask])
        return
    assert packed(model, batch).input_ids.size(1) == 70 + 20 + 2 * (29 + 8 + 16)
    assert_same(answers_and_gradients(model, batch), answers_and_gradients(model, batch, monkeypatch))


def test_rows_that_hold_nothing_in_vain_run_as_they_are():
    """There is nothing to gain, and attention to one row after another costs a little."""
    ids = torch.randint(256, (3, 200), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    batch = {"input_ids": ids, "attention_mask": mask, "completion_mask": mask}
    assert packed(model_of("llama"), batch) is None
    mask[1, 150:] = 0
    assert packed(model_of("llama"), batch).input_ids.size(1) == 199 + 149 + 199


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral"])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_gradient_checkpointing_recomputes_the_same(family, reentrant, adapter, monkeypatch):
    model, batch = model_of(family), pairs()
    if adapter:
        model = get_peft_model(model, peft_config(Adapter(rank=2)))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    expected = answers_and_gradients(model, batch, monkeypatch)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    assert_same(answers_and_gradients(model, batch), expected)


@pytest.mark.parametrize("family", EXPERTS)
def test_experts_are_balanced_over_the_tokens_of_the_rows(family, monkeypatch):
    model, batch = model_of(family), pairs()
    found = answers_and_gradients(model, batch, aux_loss=True)
    expected = answers_and_gradients(model, batch, monkeypatch, aux_loss=True)
    assert_same(found, expected)
    torch.testing.assert_close(found[0].aux_loss, expected[0].aux_loss)
    gradients = []
    for patch in (None, monkeypatch):
        with monkeypatch.context() as context:
            if patch:
                context.setattr("alignkit.models.forward.packed_rows", lambda *_, **__: None)
            loss = answer_logps(model, batch, shared_prefix=True, aux_loss=True).aux_loss
        gradients.append(torch.autograd.grad(loss, model.model.layers[0].mlp.gate.weight)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_dropout_is_drawn_for_every_row_by_itself(caplog):
    model = get_peft_model(model_of("llama"), peft_config(Adapter(rank=2, dropout=0.5)))
    assert packed(model, pairs()).input_ids.size(1) == 3 * (70 + 20) + 2 * (29 + 8 + 16)
    assert packed(model.eval(), pairs()).input_ids.size(1) == 70 + 20 + 2 * (29 + 8 + 16)
    assert caplog.messages == [
        "prompts are computed for every answer: dropout is drawn for every row by itself; set it to 0 to share prompts"
    ]


def test_rates_are_looked_for_where_forwards_read_them():
    """GPT-2's are its modules', which TRL sets to 0; StarCoder 2 reads its configuration."""
    gpt2 = model_of("gpt2")
    for module in gpt2.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert gpt2.config.attn_pdrop > 0
    assert packed(gpt2, pairs()).input_ids.size(1) == 70 + 20 + 2 * (29 + 8 + 16)
    starcoder = without_dropout(model_of("starcoder2", attention_dropout=0.0, residual_dropout=0.1))
    assert packed(starcoder, pairs()).input_ids.size(1) == 3 * (70 + 20) + 2 * (29 + 8 + 16)


def test_rotary_embeddings_by_length_are_shared_up_to_the_length_that_they_were_made_for(monkeypatch):
    batch = pairs(prompts=(40,), answers=(12, 20))  # 60 tokens at most
    for kind in (DYNAMIC, {**LONG, "original_max_position_embeddings": 64}):
        model = model_of("llama", rope_parameters=kind, max_position_embeddings=64)
        assert packed(model, batch) is not None
        assert_same(answers_and_gradients(model, batch), answers_and_gradients(model, batch, monkeypatch))


DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
FACTORS = SIZES["hidden_size"] // SIZES["num_attention_heads"] // 2
LONG = {
    **{"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 32, "factor": 4.0},
    **{"short_factor": [1.0] * FACTORS, "long_factor": [4.0] * FACTORS},
}
HOLE = (torch.arange(70 + 30) != 10).long()


def noisy():
    model = model_of("llama")
    model.get_input_embeddings().neftune_noise_alpha = 5.0  # as transformers marks what it adds noise to
    return model


def dispatched():
    model = model_of("llama")
    model.hf_device_map = {"model.layers.0": 0, "model.layers.1": 1}  # as accelerate notes it
    return model


def mamba():
    config = AutoConfig.for_model("mamba", vocab_size=259, hidden_size=32, num_hidden_layers=2, state_size=8)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(
    ("make", "change", "reason"),
    [
        (mamba, {}, "MambaForCausalLM is not known to let tokens meet in attention only"),
        (lambda: model_of("llama"), {"token_type_ids": 0}, "the batch has token_type_ids"),
        (lambda: model_of("llama"), {"position_ids": 0}, "positions are given beside an attention mask"),
        (lambda: model_of("llama"), {"attention_mask": 0}, "padding precedes a token that is scored"),
        (
            lambda: torch.compile(model_of("llama"), backend="eager"),
            {},
            "it is compiled, and would be compiled anew for every batch",
        ),
        (lambda: model_of("llama"), {"attention_mask": HOLE}, "its attention mask has holes"),
        (noisy, {}, "the noise of NEFTune depends on how long a row is"),
        (dispatched, {}, "its layers are on several devices"),
        (
            lambda: model_of("llama", rope_parameters=DYNAMIC, max_position_embeddings=64),
            {},
            "beyond 64 tokens its rotary embeddings depend on the longest row of a batch",
        ),
        (
            lambda: model_of("llama", rope_parameters=LONG, max_position_embeddings=128),
            {},
            "beyond 32 tokens its rotary embeddings depend on the longest row of a batch",
        ),
        (
            lambda: model_of("gemma3_text", use_bidirectional_attention=True),
            {},
            "its attention is bidirectional",
        ),
    ],
    ids=[
        "recurrent",
        "other inputs",
        "positions",
        "padding",
        "compiled",
        "holes",
        "NEFTune",
        "devices",
        "dynamic RoPE",
        "LongRoPE",
        "bidirectional",
    ],
)
def test_what_cannot_be_shared_runs_as_it_is_and_the_log_says_why(make, change, reason, caplog):
    batch = pairs()
    batch |= {name: torch.zeros_like(batch["input_ids"]) + value for name, value in change.items()}
    model = make()
    with caplog.at_level(logging.WARNING, "alignkit"):
        assert packed(model, batch) is None
        assert packed(model, batch) is None
    assert caplog.messages == [f"rows run as they are, padding and all: {reason}"]


def test_virtual_tokens_are_said_to_prevent_sharing(caplog):
    model = get_peft_model(model_of("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5))
    answer_logps(model, pairs(), shared_prefix=True)
    line = "rows run as they are, padding and all: its adapter puts virtual tokens before each of them"
    assert caplog.messages == [line]


def test_rows_as_they_are_still_answer():
    model, batch = mamba(), pairs(prompts=(20,), answers=(5, 3))
    answers = answer_logps(model, batch, shared_prefix=True)
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    expected = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(answers.logps, expected * answers.mask, atol=1e-5, rtol=0)


def test_rows_are_longer_than_the_windows():
    assert model_of("mistral").config.sliding_window < 70

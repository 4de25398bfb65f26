"""Batches whose rows begin alike, and the two ways through a model that must agree."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from alignkit.models import forward
from alignkit.models.forward import answer_logps
from alignkit.models.tiny import ARCHITECTURES, SIZES, WINDOW, tiny

MORE = {  # families that are no `tiny:` model: what their sizes are beside SIZES
    "cohere": {},
    "glm": {"pad_token_id": 0},
    "gpt_neox": {},
    "granite": {},
    "olmo": {},
    "olmo2": {},
    "phi": {},
    "qwen2_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "smollm3": {"pad_token_id": 0},
    "starcoder2": WINDOW,
}
TIED = {"llama tied": ("llama", {"tie_word_embeddings": True})}


def model_of(family, **options):
    """A random model with two layers, in training mode."""
    torch.manual_seed(0)
    if family in ARCHITECTURES and not options:
        return AutoModelForCausalLM.from_pretrained(tiny(family)).train()
    family, more = TIED.get(family, (family, MORE.get(family) or ARCHITECTURES.get(family, {})))
    config = AutoConfig.for_model(family, vocab_size=259, **SIZES | more | options)
    return AutoModelForCausalLM.from_config(config).train()


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name in ("attention_dropout", "attn_pdrop"):
        if hasattr(model.config, name):
            setattr(model.config, name, 0.0)
    return model


def pairs(prompts=(70, 20), answers=(30, 9, 17), padding="right", vocabulary=256):
    """All answers to each of the prompts, lengths in tokens; longer than the tiny models' window."""
    generator = torch.Generator().manual_seed(1)
    asked = [torch.randint(vocabulary, (length,), generator=generator) for length in prompts]
    rows = [(p, torch.randint(vocabulary, (a,), generator=generator)) for a in answers for p in asked]
    width = max(len(p) + len(a) for p, a in rows)
    batch = {name: torch.zeros(len(rows), width, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    batch["completion_mask"] = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (prompt, answer) in enumerate(rows):
        end = width if padding == "left" else len(prompt) + len(answer)
        batch["input_ids"][row, end - len(prompt) - len(answer) : end] = torch.cat((prompt, answer))
        batch["attention_mask"][row, end - len(prompt) - len(answer) : end] = 1
        batch["completion_mask"][row, end - len(answer) : end] = 1
    return batch


def answers_and_gradients(model, batch, monkeypatch=None, **options):
    """Log-probs and gradients, by the shared forward, or with `monkeypatch` by that of the rows as they are."""
    if monkeypatch is None:
        answers = answer_logps(model, batch, shared_prefix=True, **options)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(forward, "packed_rows", lambda *_, **__: None)
            answers = answer_logps(model, batch, shared_prefix=True, **options)
    loss = (answers.logps * torch.linspace(0.5, 1.5, answers.logps.size(1))).sum()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in trained.items()}
    model.zero_grad()
    return answers, gradients


def assert_same(found, expected):
    """Log-probs to 1e-5, gradients to 1e-4 of their size."""
    (answers, gradients), (right, right_gradients) = found, expected
    torch.testing.assert_close(answers.logps, right.logps, atol=1e-5, rtol=0)
    assert torch.equal(answers.mask, right.mask)
    assert gradients.keys() == right_gradients.keys()
    for name, gradient in right_gradients.items():
        assert (gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, name

import copy

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from alignkit.models.adapters import peft_config
from alignkit.models.forward import answer_logps
from alignkit.models.spec import Adapter
from alignkit.models.tiny import ARCHITECTURES, tiny

EXPERTS = ("mixtral", "qwen3_moe")
both = pytest.mark.parametrize("shared_prefix", [False, True])


def model_of(architecture="llama", **kwargs):
    return AutoModelForCausalLM.from_pretrained(tiny(architecture), **kwargs)


def padded_batch(rows=3, length=90):
    """Rows of different prompt and answer lengths, padded on the right; longer than the tiny models' window."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 256, (rows, length), generator=generator)
    places = torch.arange(length)[None]
    prompts, lengths = torch.tensor([[70], [30], [5]])[:rows], torch.tensor([[90], [60], [41]])[:rows]
    return {
        "input_ids": ids.masked_fill(places >= lengths, 256),
        "attention_mask": (places < lengths).long(),
        "completion_mask": ((places >= prompts) & (places < lengths)).long(),
    }


def plain(model, batch):
    """Log-probs the long way: all logits, log-softmax, gather."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logits = logits[:, -batch["input_ids"].size(1) : -1].double()
    return logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1), logits


@both
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_the_plain_log_probs_and_gradients(architecture, shared_prefix):
    model, batch = model_of(architecture), padded_batch()
    mask = batch["completion_mask"][:, 1:].bool()
    expected, logits = plain(model, batch)
    (expected * mask).sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()

    answers = answer_logps(model, batch, shared_prefix=shared_prefix)
    answers.logps.sum().backward()
    torch.testing.assert_close(answers.logps.double(), expected.detach() * mask, atol=1e-5, rtol=0)
    assert torch.equal(answers.mask, mask)
    assert (answers.logps[~mask] == 0).all()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], atol=1e-4, rtol=1e-4, msg=name)

    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(answers.entropy.double()[mask], entropy[mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(answers.mean_logits.double()[mask], logits.mean(-1)[mask], atol=1e-5, rtol=0)
    assert torch.equal(answers.is_top1[mask], (logits.argmax(-1) == batch["input_ids"][:, 1:])[mask])


@both
@pytest.mark.parametrize("architecture", EXPERTS)
def test_the_auxiliary_loss_comes_when_asked_for(architecture, shared_prefix):
    model, batch = model_of(architecture), padded_batch()
    assert answer_logps(model, batch, shared_prefix=shared_prefix).aux_loss is None
    answers = answer_logps(model, batch, aux_loss=True, shared_prefix=shared_prefix)
    expected = model(batch["input_ids"], attention_mask=batch["attention_mask"], output_router_logits=True).aux_loss
    torch.testing.assert_close(answers.aux_loss, expected)
    torch.testing.assert_close(answers.logps, answer_logps(model, batch).logps, atol=1e-5, rtol=0)


@both
def test_labels_serve_as_a_mask_and_packed_rows_do_not_see_each_other(shared_prefix):
    model, batch = model_of("mistral"), padded_batch()
    ids = [row[keep.bool()] for row, keep in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    scored = [row[keep.bool()] for row, keep in zip(batch["completion_mask"], batch["attention_mask"], strict=True)]
    packed = {
        "input_ids": torch.cat(ids)[None],
        "position_ids": torch.cat([torch.arange(len(row)) for row in ids])[None],
        "labels": torch.cat(ids)[None].masked_fill(torch.cat(scored)[None] == 0, -100),
    }
    answers, expected = answer_logps(model, packed, shared_prefix=shared_prefix), answer_logps(model, batch)
    assert torch.equal(answers.mask, packed["labels"][:, 1:] != -100)
    torch.testing.assert_close(answers.logps[answers.mask], expected.logps[expected.mask], atol=1e-5, rtol=0)


@both
def test_prompt_learning_keeps_the_real_tokens(shared_prefix):
    model, batch = model_of(), padded_batch()
    prompted = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5))
    expected, _ = plain(prompted, batch)
    answers = answer_logps(prompted, batch, shared_prefix=shared_prefix)
    assert answers.logps.shape == answers.entropy.shape == answers.mask.shape == (3, 89)
    torch.testing.assert_close(answers.logps.double(), expected * answers.mask, atol=1e-5, rtol=0)


@both
@pytest.mark.parametrize("on_head", [False, True], ids=["lora", "lora and a trained head"])
def test_an_adapter_is_seen_and_can_be_switched_off(shared_prefix, on_head):
    batch, options = padded_batch(), {"shared_prefix": shared_prefix}
    base = answer_logps(model_of(), batch, **options).logps
    config = peft_config(Adapter(rank=2))
    config.modules_to_save = ["lm_head"] if on_head else None
    model = get_peft_model(model_of(), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
            if "modules_to_save" in name:
                weight.mul_(1.5)
    expected, _ = plain(model, batch)
    expected = expected * batch["completion_mask"][:, 1:]
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    gradients = torch.autograd.grad(expected.sum(), list(trained.values()))
    answers = answer_logps(model, batch, **options)
    torch.testing.assert_close(answers.logps.double(), expected, atol=1e-5, rtol=0)
    found = torch.autograd.grad(answers.logps.sum(), list(trained.values()))
    for name, mine, right in zip(trained, found, gradients, strict=True):
        assert (mine - right).norm() <= 1e-4 * right.norm(), name
    assert any("lm_head" in name for name in trained) == on_head
    assert not torch.allclose(answers.logps, base, atol=1e-3)
    with model.disable_adapter():
        assert torch.equal(answer_logps(model, batch, **options).logps, base)


@both
def test_rows_without_an_answer_and_single_tokens_are_fine(shared_prefix):
    model, batch = model_of(), padded_batch()
    empty = batch | {"completion_mask": torch.zeros_like(batch["completion_mask"])}
    answers = answer_logps(model, empty, shared_prefix=shared_prefix)
    assert not answers.mask.any()
    answers.logps.sum().backward()
    assert all((weight.grad == 0).all() for weight in model.parameters())
    one = {name: value[:, :1] for name, value in batch.items()}
    assert answer_logps(model, one, shared_prefix=shared_prefix).logps.shape == (3, 0)


@both
def test_a_half_precision_model_is_close_to_float32(shared_prefix):
    batch = padded_batch()
    answers = answer_logps(model_of(dtype=torch.bfloat16), batch, shared_prefix=shared_prefix)
    expected = answer_logps(model_of(), batch)
    assert answers.logps.dtype is torch.float32
    torch.testing.assert_close(answers.logps, expected.logps, atol=0.15, rtol=0)


@pytest.mark.parametrize("extra", [{}, {"labels": torch.zeros(3, 90)}])
def test_exactly_one_mask_is_asked_for(extra):
    batch = padded_batch() | extra
    if not extra:
        del batch["completion_mask"]
    with pytest.raises(ValueError, match="give it completion_mask or labels, one of them"):
        answer_logps(model_of(), batch)


@both
def test_the_generation_and_the_plain_forward_of_a_scored_model_are_unchanged(shared_prefix):
    model, batch = model_of(), padded_batch()
    before = model(batch["input_ids"]).logits
    answer_logps(model, batch, shared_prefix=shared_prefix)
    assert torch.equal(model(batch["input_ids"]).logits, before)
    ids = torch.arange(5)[None]
    new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)[:, 5:]
    assert new[0, 0] == F.log_softmax(model(ids).logits[0, -1], -1).argmax()


def test_only_the_fields_asked_for_are_computed():
    model, batch = model_of(), padded_batch()
    answers = answer_logps(model, batch, shared_prefix=True, fields=("entropy",))
    assert (answers.mean_logits, answers.is_top1) == (None, None)
    assert not answers.entropy.requires_grad
    everything = answer_logps(model, batch)
    torch.testing.assert_close(answers.entropy, everything.entropy, atol=1e-5, rtol=0)
    assert answer_logps(model, batch, shared_prefix=True, fields=()).entropy is None


@pytest.mark.parametrize("scale", ["logit_scale", "logits_scaling"])
def test_scaled_logits_and_a_bias_on_the_head_are_taken_into_account(scale):
    config = model_of("phi3").config
    setattr(config, scale, 0.25)
    model, batch = AutoModelForCausalLM.from_config(config), padded_batch()
    model.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size)  # with a bias
    expected, answers = (answer_logps(model, batch, shared_prefix=shared) for shared in (False, True))
    torch.testing.assert_close(answers.logps, expected.logps, atol=1e-5, rtol=0)
    for name, mine, right in zip(
        dict(model.named_parameters()),
        *(torch.autograd.grad(found.logps.sum(), list(model.parameters())) for found in (answers, expected)),
        strict=True,
    ):
        assert (mine - right).norm() <= 1e-4 * right.norm(), name
    unscaled = F.log_softmax(model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[0, -2], -1)
    assert abs(unscaled[batch["input_ids"][0, -1]] - answers.logps[0, -1]) > 0.01


def test_a_copied_model_answers_for_itself():
    model, batch = model_of(), padded_batch()
    before = answer_logps(model, batch, shared_prefix=True).logps
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.lm_head.weight.mul_(2)
    assert not torch.allclose(answer_logps(copied, batch, shared_prefix=True).logps, before, atol=0.1)
    assert torch.equal(answer_logps(model, batch, shared_prefix=True).logps, before)

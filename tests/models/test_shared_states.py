"""A reward model that reads prompts once: the scores and gradients of the rows as they are."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from alignkit.models.read_once import read_once
from alignkit.models.reward import load_reward_model
from alignkit.models.shared_states import SharedStates, share_prompts
from alignkit.models.spec import ModelSpec
from tests.models.shared import pairs, without_dropout

PADDING = 256  # token of the tiny models


def classifier(family="llama", **options):
    model = without_dropout(load_reward_model(ModelSpec(path=f"tiny:{family}"), seed=1).train())
    model.config.pad_token_id = PADDING
    for name, value in options.items():
        setattr(model.config, name, value)
    return model


def batch(padding="right"):
    found = pairs(padding=padding)
    ids = found["input_ids"].masked_fill(found["attention_mask"] == 0, PADDING)
    return {"input_ids": ids, "attention_mask": found["attention_mask"]}


def scores_and_gradients(model, inputs):
    scores = model(**inputs, use_cache=False).logits.squeeze(-1)
    (scores * torch.arange(1, len(scores) + 1)).sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    return scores.detach(), gradients


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma", "qwen3", "mixtral", "phi3", "gpt2"])
def test_shared_prompts_change_no_score_and_no_gradient(family):
    model, inputs = classifier(family), batch()
    expected, right = scores_and_gradients(model, inputs)
    share_prompts(model)
    seen = []
    model.score.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    plain = model.base_model.forward.forward
    tokens = []
    model.base_model.forward.forward = lambda ids, **options: tokens.append(ids.numel()) or plain(ids, **options)
    scores, gradients = scores_and_gradients(model, inputs)
    assert tokens == [70 + 20 + 2 * (30 + 9 + 17)]
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    for name, gradient in right.items():
        assert (gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize("checkpointing", [False, True])
def test_padding_on_the_left_and_gradient_checkpointing(checkpointing):
    model = classifier()
    expected, right = scores_and_gradients(model, batch())
    share_prompts(model)
    if checkpointing:
        model.gradient_checkpointing_enable()
    scores, gradients = scores_and_gradients(model, batch("left"))
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    for name, gradient in right.items():
        assert (gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize("read", ["shared", "once"])
def test_texts_that_end_with_the_token_of_padding_are_read_where_transformers_reads_them(read):
    """Before it; and the same whichever texts lie beside them in the batch."""
    model, inputs = classifier(), batch()
    last = (inputs["attention_mask"] * torch.arange(inputs["input_ids"].size(1))).argmax(dim=1)
    ids = inputs["input_ids"].scatter(1, last[:, None], PADDING)
    with torch.no_grad():
        expected = model.eval()(input_ids=ids, attention_mask=inputs["attention_mask"], use_cache=False).logits
        if read == "shared":
            share_prompts(model)
        else:
            read_once(
                model, [row[mask.bool()].tolist() for row, mask in zip(ids, inputs["attention_mask"], strict=True)]
            )
        found = model(input_ids=ids, attention_mask=inputs["attention_mask"], use_cache=False).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_model_that_cannot_share_reads_its_rows_as_they_are():
    config = AutoConfig.for_model("opt", vocab_size=259, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    config.ffn_dim, config.word_embed_proj_dim, config.pad_token_id, config.num_labels = 64, 32, PADDING, 1
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        expected = model(**batch(), use_cache=False).logits
        share_prompts(model)
        assert torch.equal(model(**batch(), use_cache=False).logits, expected)


def test_sharing_twice_is_sharing_once():
    model = classifier()
    share_prompts(model)
    share_prompts(model)
    assert not isinstance(model.model.forward.forward, SharedStates)

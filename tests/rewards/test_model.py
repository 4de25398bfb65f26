import logging

import pytest
import torch
from torch.testing import assert_close

from alignkit.models.load import load_tokenizer
from alignkit.models.reward import load_reward_model
from alignkit.models.spec import ModelSpec
from alignkit.rewards.model import ModelReward
from tests.objectives.properties import assert_refuses

SPEC = ModelSpec(path="tiny:llama")
PROMPTS = ["one", "two, a longer one", "three"]
ANSWERS = [" a" * 40, " b", " c" * 7]


@pytest.fixture(scope="module", autouse=True)
def cache(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNKIT_CACHE", str(request.config.cache.mkdir("alignkit")))
        yield


@pytest.fixture(scope="module")
def model(cache):
    return load_reward_model(SPEC)


def reward(model, **options):
    return ModelReward(model=model, tokenizer=load_tokenizer(SPEC), **options)


def test_scores_are_the_model_s_one_by_one(model):
    found = reward(model)(PROMPTS, ANSWERS)
    tokenizer = load_tokenizer(SPEC)
    for prompt, answer, score in zip(PROMPTS, ANSWERS, found, strict=True):
        tokens = tokenizer(prompt + answer + tokenizer.eos_token, return_tensors="pt")
        with torch.no_grad():
            assert_close(model.eval()(**tokens).logits[0, 0], score, rtol=1e-5, atol=1e-5)


def test_micro_batches_and_their_order_change_nothing(model):
    whole = reward(model)(PROMPTS, ANSWERS)
    for batch_tokens in (1, 60, 130):
        assert_close(reward(model, batch_tokens=batch_tokens)(PROMPTS, ANSWERS), whole, rtol=1e-5, atol=1e-5)
    assert_close(reward(model)(PROMPTS[::-1], ANSWERS[::-1]), whole.flip(0), rtol=1e-5, atol=1e-5)
    assert reward(model)([], []).shape == (0,)


def test_no_batch_is_larger_than_asked(model):
    seen = []
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["attention_mask"].sum(dim=1)), with_kwargs=True
    )
    reward(model, batch_tokens=60)(PROMPTS * 5, ANSWERS * 5)
    handle.remove()
    assert sum(len(rows) for rows in seen) == 15
    assert all(rows.sum() <= 60 or len(rows) == 1 for rows in seen)


def test_messages_go_through_the_template(model):
    prompt, answer = [{"role": "user", "content": "q"}], [{"role": "assistant", "content": "a"}]
    text = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
    tokens = load_tokenizer(SPEC)(text, return_tensors="pt")
    with torch.no_grad():
        expected = model.eval()(**tokens).logits[0, 0]
    assert_close(reward(model)([prompt], [answer])[0], expected)
    assert_refuses("prompt and answer must both be plain text or both be messages", reward(model), [prompt], ["a"])


def test_truncation_keeps_the_end_and_is_reported(model, caplog):
    short = reward(model, max_length=12)
    assert short.scored(PROMPTS, ANSWERS).truncated.tolist() == [True, True, True]
    assert short.scored(["a"], ["b"]).truncated.tolist() == [False]
    assert_close(short([ANSWERS[0]], ["xyz"]), short(["a" + ANSWERS[0]], ["xyz"]))  # the same last tokens
    with caplog.at_level(logging.WARNING):
        short(PROMPTS, ANSWERS)
    assert "3 of 3 texts are longer than 12 tokens; their start is not read" in caplog.text


def test_a_saved_model_is_loaded_and_an_untrained_head_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    load_tokenizer(SPEC).save_pretrained(tmp_path)
    loaded = ModelReward.load(ModelSpec(path=str(tmp_path)))
    assert_close(loaded(PROMPTS, ANSWERS), reward(model)(PROMPTS, ANSWERS), rtol=1e-4, atol=1e-5)
    message = "tiny:llama is no reward model: its head would be drawn at random; train one first"
    assert_refuses(message, ModelReward.load, SPEC)


def test_a_model_in_training_stays_so(model):
    model.train()
    reward(model)(PROMPTS, ANSWERS)
    assert model.training


def test_refusals(model):
    assert_refuses("max_length = 0 must be at least 1", reward, model, max_length=0)
    assert_refuses("batch_tokens = 0 must be at least 1", reward, model, batch_tokens=0)
    with pytest.raises(ValueError, match="zip"):
        reward(model)(PROMPTS, ANSWERS[:2])

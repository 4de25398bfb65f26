import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignkit.models.tiny import ARCHITECTURES, byte_tokenizer, tiny

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Grüße\n"}]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_builds_and_reads_its_own_tokenizer(architecture):
    folder = tiny(architecture)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == architecture
    assert model.config.num_hidden_layers == 2
    assert model.config.vocab_size == len(tokenizer) == 259
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert model.num_parameters() < 100_000
    assert torch.isfinite(model(torch.arange(259)[None]).logits).all()
    text = "Grüße, 你好!  two  spaces\n"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_weights_are_the_same_every_time_and_leave_the_random_state_alone(tmp_path, monkeypatch):
    torch.manual_seed(7)
    expected = torch.rand(1)
    first = AutoModelForCausalLM.from_pretrained(tiny("qwen3")).state_dict()
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path))
    torch.manual_seed(7)
    second = tiny("qwen3")
    assert torch.equal(torch.rand(1), expected)
    assert second.is_relative_to(tmp_path)
    for name, weight in AutoModelForCausalLM.from_pretrained(second).state_dict().items():
        assert torch.equal(weight, first[name]), name


def test_a_given_tokenizer_sets_the_vocabulary(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["alpha", "beta"])
    tokenizer.save_pretrained(tmp_path)
    folder = tiny("llama", str(tmp_path))
    assert AutoModelForCausalLM.from_pretrained(folder).config.vocab_size == 261
    assert folder != tiny("llama")


def test_the_template_marks_turns_and_answers():
    tokenizer = byte_tokenizer()
    ids = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    assert tokenizer.decode(ids["input_ids"]) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nGrüße\n<|im_end|>\n"
    )
    answer = [token for token, answer in zip(ids["input_ids"], ids["assistant_masks"], strict=True) if answer]
    assert tokenizer.decode(answer) == "Grüße\n<|im_end|>"
    prompt = tokenizer.apply_chat_template(CHAT[:1], add_generation_prompt=True)["input_ids"]
    assert ids["input_ids"][: len(prompt)] == prompt


def test_an_unknown_architecture_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"tiny:qwen_2 is not known; did you mean 'qwen2'\?"):
        tiny("qwen_2")

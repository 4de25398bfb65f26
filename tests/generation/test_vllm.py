"""Sampling by vLLM: what it is asked and what is made of its reply, with an engine like it; and with itself."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from alignkit.generation.vllm import VLLMSampler
from alignkit.models.load import load_tokenizer
from alignkit.models.spec import ModelSpec
from tests.objectives.properties import assert_refuses

SPEC = ModelSpec(path="tiny:llama")
CHAT = [{"role": "user", "content": "a"}]


class Engine:
    """Ends its first answer to a prompt and none of the others."""

    def __init__(self, **options):
        self.options = options

    def generate(self, prompts, params, use_tqdm):
        self.asked, self.params = prompts, params
        answer = {"text": "b", "token_ids": [1, 2]}
        reasons = ["stop"] + ["length"] * (params.n - 1)
        return [SimpleNamespace(outputs=[SimpleNamespace(**answer, finish_reason=r) for r in reasons]) for _ in prompts]


@pytest.fixture
def vllm(monkeypatch):
    module = ModuleType("vllm")
    module.LLM = Engine
    module.SamplingParams = lambda **options: SimpleNamespace(**options)
    monkeypatch.setitem(sys.modules, "vllm", module)


def test_prompts_are_tokenized_as_elsewhere_and_ends_are_known(vllm):
    sampler = VLLMSampler.load(SPEC, max_new_tokens=7, temperature=0.5, seed=3)
    tokenizer = load_tokenizer(SPEC)
    first, second = sampler.draw([CHAT, "plain"], n=2)
    text = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    asked = [{"prompt_token_ids": tokenizer(one)["input_ids"]} for one in (text, "plain")]
    assert sampler.engine.asked == asked
    wanted = {"n": 2, "temperature": 0.5, "max_tokens": 7, "seed": 3}
    assert vars(sampler.engine.params) == wanted
    assert first == second
    assert [(one.text, one.tokens, one.truncated) for one in first] == [("b", 2, False), ("b", 2, True)]
    assert sampler([CHAT], n=3) == [["b", "b", "b"]]


def test_weights_are_read_from_safetensors_alone(vllm):
    options = VLLMSampler.load(SPEC).engine.options
    assert options["load_format"] == "safetensors"
    assert "trust_remote_code" not in options  # vLLM's default is no


def test_an_adapter_is_refused(vllm, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "tiny:llama", "peft_type": "LORA"}')
    message = f"{tmp_path} is an adapter; run alignkit merge first, or take transformers"
    assert_refuses(message, VLLMSampler.load, ModelSpec(path=str(tmp_path)))


def test_without_vllm_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match=r"^vLLM cannot be imported .*; pip install vllm, or take transformers$"):
        VLLMSampler.load(SPEC)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_vllm_itself():
    pytest.importorskip("vllm")
    answers = VLLMSampler.load(SPEC, max_new_tokens=8).draw([CHAT], n=4)
    assert [len(found) for found in answers] == [4]
    assert all(1 <= one.tokens <= 8 for one in answers[0])

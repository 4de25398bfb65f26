import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from alignkit.models import load, precision
from alignkit.models.adapters import peft_config
from alignkit.models.forward import answer_logps
from alignkit.models.load import architecture, load_config, load_model, load_tokenizer, locate, model_kwargs
from alignkit.models.spec import Adapter, ModelSpec
from alignkit.models.tiny import byte_tokenizer, tiny
from tests.models.llava import save_llava

LLAMA = ModelSpec(path="tiny:llama")
SAFE = {"use_safetensors": True, "trust_remote_code": False}


@pytest.fixture
def half_precision(monkeypatch):
    monkeypatch.setattr(precision, "device_type", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)


@pytest.fixture
def adapter_folder(tmp_path):
    """An adapter whose weights are not zero, as training leaves it."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny("llama")), peft_config(Adapter(rank=2)))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", model


@pytest.fixture
def model_with_eyes(tmp_path):
    """A folder with a LLaVA of toy size, whose tokenizer has no chat template and pads with eos."""
    return ModelSpec(path=save_llava(tmp_path))


def test_a_model_that_sees_images_comes_with_its_processor(model_with_eyes, tmp_path):
    with pytest.raises(ValueError, match="has no chat template"):
        load_tokenizer(model_with_eyes, require_chat_template=True)
    (tmp_path / "chat.jinja").write_text("{{ messages[0]['content'] }}")
    spec = replace(model_with_eyes, chat_template=str(tmp_path / "chat.jinja"))
    processor, model = load_tokenizer(spec, require_chat_template=True), load_model(spec)
    assert isinstance(processor, LlavaProcessor)
    assert processor.tokenizer.pad_token == "<|endoftext|>"
    assert isinstance(model, LlavaForConditionalGeneration)
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    inputs = dict(processor(text=["<image>ab", "<image>cd"], images=[image, image], return_tensors="pt"))
    answers = answer_logps(model, {**inputs, "completion_mask": torch.tensor([[0, 0, 0, 0, 1, 1]] * 2)})
    logps = model(**inputs).logits[:, :-1].log_softmax(-1).gather(-1, inputs["input_ids"][:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(answers.logps, logps * answers.mask, atol=1e-5, rtol=0)


def test_a_model_is_trained_in_float32_and_knows_where_it_came_from():
    model = load_model(LLAMA)
    assert model.dtype is torch.float32
    assert model.config._name_or_path == str(tiny("llama"))
    assert all(weight.requires_grad for weight in model.parameters())


def test_master_weights_stay_float32_and_frozen_ones_take_the_precision(half_precision, adapter_folder):
    assert model_kwargs(LLAMA) == {"dtype": "float32", **SAFE}
    assert model_kwargs(ModelSpec(path="tiny:llama", adapter=Adapter())) == {"dtype": "bfloat16", **SAFE}
    assert model_kwargs(ModelSpec(path=str(adapter_folder[0])))["dtype"] == "bfloat16"


def test_attention_is_left_to_transformers_or_passed_on():
    assert load_model(ModelSpec(path="tiny:gemma2")).config._attn_implementation == "eager"  # SDPA cannot cap logits
    eager = ModelSpec(path="tiny:llama", attention="eager")
    assert model_kwargs(eager) == {"dtype": "float32", "attn_implementation": "eager", **SAFE}
    assert load_model(eager).config._attn_implementation == "eager"


def test_quantization_is_part_of_the_arguments(monkeypatch):
    monkeypatch.setattr(load, "quantization", lambda adapter, dtype: (adapter.quantize, dtype))
    spec = ModelSpec(path="tiny:llama", adapter=Adapter(quantize="4bit"))
    assert model_kwargs(spec)["quantization_config"] == ("4bit", torch.float32)


def test_an_adapter_folder_is_loaded_on_its_base_and_trained_further(adapter_folder):
    folder, trained = adapter_folder
    model = load_model(ModelSpec(path=str(folder)))
    assert isinstance(model, PeftModel)
    assert model.config._name_or_path == str(tiny("llama"))
    assert {name.split(".")[-3] for name, weight in model.named_parameters() if weight.requires_grad} == {
        "lora_A",
        "lora_B",
    }
    ids = torch.arange(20)[None]
    assert torch.equal(model(ids).logits, trained.eval()(ids).logits)


def test_an_adapter_on_an_adapter_is_refused(adapter_folder):
    with pytest.raises(ValueError, match=r"adapter is an adapter itself, .*; remove model\.adapter"):
        locate(ModelSpec(path=str(adapter_folder[0]), adapter=Adapter()))


def test_an_adapter_without_its_base_says_so(adapter_folder):
    file = adapter_folder[0] / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": "/no/such"}))
    with pytest.raises(ValueError, match="is an adapter whose model is not here: /no/such: no such folder"):
        load_model(ModelSpec(path=str(adapter_folder[0])))


def test_the_tokenizer_beside_an_adapter_wins_over_the_base_s(adapter_folder):
    spec = ModelSpec(path=str(adapter_folder[0]))
    assert load_tokenizer(spec).chat_template == byte_tokenizer().chat_template
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(adapter_folder[0])
    assert load_tokenizer(spec).chat_template == "{{ messages[0].content }}"


def test_a_revision_goes_to_what_is_on_the_hub(monkeypatch, tmp_path):
    """The reference must be the same revision, and TRL asks for it by name alone."""
    seen = {}
    snapshot = tiny("llama")
    config = AutoModelForCausalLM.from_pretrained(snapshot).config

    class Model:
        def __init__(self):
            self.config = config

        @classmethod
        def from_pretrained(cls, path, **kwargs):
            seen.update(path=path, **kwargs)
            return cls()

    monkeypatch.setattr(load, "base_of_adapter", lambda path, revision: None)
    monkeypatch.setattr(load, "load_config", lambda location: config)
    monkeypatch.setattr(load, "architecture", lambda config: Model)
    monkeypatch.setattr(load, "cached_file", lambda path, name, revision: str(tmp_path / revision / name))
    model = load_model(ModelSpec(path="owner/name", revision="v2"))
    assert seen == {"path": "owner/name", "dtype": "float32", "revision": "v2", **SAFE}
    assert model.config._name_or_path == str(tmp_path / "v2")


def test_a_folder_without_a_model_is_an_error_of_the_recipe(tmp_path):
    with pytest.raises(ValueError, match=f"cannot load the model {tmp_path}: .*config.json"):
        load_model(ModelSpec(path=str(tmp_path)))


def test_the_class_of_a_model_is_the_one_it_was_saved_from():
    assert architecture(load_config(locate(LLAMA))).__name__ == "LlamaForCausalLM"


def test_a_chat_template_file_replaces_the_tokenizer_s(tmp_path):
    file = tmp_path / "chat.jinja"
    file.write_text("{{ messages[0]['content'] }}")
    tokenizer = load_tokenizer(ModelSpec(path="tiny:llama", chat_template=str(file)), require_chat_template=True)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "é"}], tokenize=False) == "é"
    with pytest.raises(ValueError, match=r"chat_template = '.*none.jinja': no such file; write the path of a Jinja"):
        load_tokenizer(ModelSpec(path="tiny:llama", chat_template=str(tmp_path / "none.jinja")))


def test_a_missing_chat_template_matters_only_to_conversations(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    spec = ModelSpec(path="tiny:llama", tokenizer=str(tmp_path))
    assert load_tokenizer(spec).chat_template is None
    with pytest.raises(ValueError, match=r"has no chat template, and the data are conversations; write model\.chat_t"):
        load_tokenizer(spec, require_chat_template=True)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["alpha"])
    tokenizer.save_pretrained(tmp_path)
    spec = ModelSpec(path=str(tiny("llama")), tokenizer=str(tmp_path))
    with pytest.raises(ValueError, match="has 260 tokens, but the model only 259; choose the tokenizer that the model"):
        load_tokenizer(spec)


def test_a_missing_padding_token_is_mended(tmp_path):
    folder = tiny("mistral")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(ModelSpec(path=str(folder), tokenizer=str(tmp_path)))
    assert loaded.pad_token == "<|endoftext|>"

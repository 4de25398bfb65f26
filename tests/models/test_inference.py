import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignkit.models.adapters import peft_config
from alignkit.models.inference import load_for_inference
from alignkit.models.spec import Adapter
from alignkit.models.tiny import tiny

IDS = torch.tensor([[5, 17, 100, 42]])


@pytest.fixture
def adapter(tmp_path):
    """A folder with an adapter that changes the model; its base is named but not there."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny("llama")), peft_config(Adapter(rank=2)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(file.read_text().replace(str(tiny("llama")), str(tmp_path / "gone")))
    return tmp_path / "adapter", model


def test_a_model_comes_frozen_and_ready():
    model, tokenizer = load_for_inference("tiny:llama")
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert tokenizer.chat_template


def test_a_base_that_is_gone_is_an_error(adapter):
    with pytest.raises(ValueError, match="is an adapter whose model is not here"):
        load_for_inference(str(adapter[0]))


def test_an_adapter_takes_the_model_that_is_said(adapter):
    folder, expected = adapter
    with torch.no_grad():
        want = expected.eval()(IDS).logits
        model, _ = load_for_inference(str(folder), base="tiny:llama")
        torch.testing.assert_close(model(IDS).logits, want)
    assert isinstance(model, PeftModel)


def test_the_tokenizer_beside_an_adapter_is_its_own(adapter):
    folder, _ = adapter
    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"))
    tokenizer.chat_template = "mine"
    tokenizer.save_pretrained(folder)
    assert load_for_inference(str(folder), base="tiny:llama")[1].chat_template == "mine"


def test_a_template_may_come_from_a_file(tmp_path):
    (tmp_path / "x.jinja").write_text("{{ messages[0]['content'] }}")
    _, tokenizer = load_for_inference("tiny:llama", chat_template=str(tmp_path / "x.jinja"))
    assert tokenizer.chat_template == "{{ messages[0]['content'] }}"


def test_a_whole_model_has_no_model_under_it():
    with pytest.raises(ValueError, match=r"tiny:llama is no adapter.*leave tiny:qwen2 out"):
        load_for_inference("tiny:llama", base="tiny:qwen2")

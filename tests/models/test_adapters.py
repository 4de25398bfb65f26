import importlib.util

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from alignkit.models.adapters import base_of_adapter, peft_config, quantization
from alignkit.models.spec import Adapter
from alignkit.models.tiny import tiny


def adapted(adapter):
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny("llama")), peft_config(adapter))
    return model, {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_all_linear_layers_but_the_head_are_adapted():
    model, trained = adapted(Adapter(rank=4))
    assert len(trained) == 2 * 7 * 2  # layers, matrices of each, two factors
    assert not any("lm_head" in name for name in trained)
    layer = model.base_model.model.model.layers[0].mlp.up_proj
    assert layer.r["default"] == 4
    assert layer.scaling["default"] == 2.0


def test_alpha_targets_dropout_and_dora_reach_peft():
    adapter = Adapter(rank=4, alpha=6.0, dropout=0.25, targets=("q_proj", "v_proj"), dora=True)
    model, trained = adapted(adapter)
    layer = model.base_model.model.model.layers[1].self_attn.q_proj
    assert layer.scaling["default"] == 1.5
    assert layer.lora_dropout["default"].p == 0.25
    assert "default" in layer.lora_magnitude_vector
    assert len(trained) == 2 * 2 * 3  # layers, matrices, two factors and a magnitude


def test_quantization_needs_bitsandbytes(monkeypatch):
    assert quantization(None, torch.float32) is None
    assert quantization(Adapter(), torch.float32) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"adapter\.quantize = '4bit' needs bitsandbytes; run pip install bitsandbytes, or"
    ):
        quantization(Adapter(quantize="4bit"), torch.float32)


def test_quantization_is_qlora_s(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    four = quantization(Adapter(quantize="4bit"), torch.bfloat16)
    assert four.load_in_4bit
    assert four.bnb_4bit_quant_type == "nf4"
    assert four.bnb_4bit_use_double_quant
    assert four.bnb_4bit_compute_dtype is torch.bfloat16
    assert quantization(Adapter(quantize="8bit"), torch.bfloat16).load_in_8bit


def test_an_adapter_folder_knows_its_base(tmp_path):
    model, _ = adapted(Adapter(rank=2))
    model.save_pretrained(tmp_path)
    assert base_of_adapter(str(tmp_path)) == str(tiny("llama"))
    assert base_of_adapter(str(tiny("llama"))) is None

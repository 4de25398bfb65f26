import json
import subprocess
import sys

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignkit.models.adapters import peft_config
from alignkit.models.merge import merge
from alignkit.models.spec import Adapter
from alignkit.models.tiny import tiny

IDS = torch.tensor([[5, 17, 100, 42, 8, 9]])


def trained(folder, adapter=Adapter(rank=4), dtype=torch.float32):  # noqa: B008 - frozen
    """A folder with an adapter as after training, and its logits."""
    base = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype=dtype)
    model = get_peft_model(base, peft_config(adapter)).eval()
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    with torch.no_grad():
        return model(IDS).logits


def test_merged_logits_are_the_adapter_s(tmp_path):
    want = trained(tmp_path / "adapter")
    with torch.no_grad():
        before = AutoModelForCausalLM.from_pretrained(tiny("llama"))(IDS).logits
        folder = merge(str(tmp_path / "adapter"), tmp_path / "merged")
        got = AutoModelForCausalLM.from_pretrained(folder)(IDS).logits
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    assert (got - before).abs().max() > 0.1
    assert not (folder / "adapter_config.json").exists()


def test_dora_merges_too(tmp_path):
    want = trained(tmp_path / "adapter", Adapter(rank=4, dora=True, targets=("q_proj", "down_proj")))
    merge(str(tmp_path / "adapter"), tmp_path / "merged")
    with torch.no_grad():
        got = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(IDS).logits
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_the_folder_needs_transformers_alone(tmp_path):
    trained(tmp_path / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"))
    tokenizer.chat_template = "{% for m in messages %}<{{ m['content'] }}>{% endfor %}"
    tokenizer.save_pretrained(tmp_path / "adapter")
    merge(str(tmp_path / "adapter"), tmp_path / "merged")
    program = """
import sys, transformers
model = transformers.AutoModelForCausalLM.from_pretrained('merged')
tokenizer = transformers.AutoTokenizer.from_pretrained('merged')
print(tokenizer.apply_chat_template([{'role': 'user', 'content': 'a'}], tokenize=False))
assert type(model).__name__ == 'LlamaForCausalLM', type(model)
assert not any(name.startswith('alignkit') for name in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "<a>\n"), result.stderr


def test_the_format_is_the_base_s(tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype=torch.bfloat16)
    base.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(tiny("llama")).save_pretrained(tmp_path / "base")
    trained(tmp_path / "adapter")
    merge(str(tmp_path / "adapter"), tmp_path / "merged", base=str(tmp_path / "base"))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert {weight.dtype for weight in merged.parameters()} == {torch.bfloat16}


def test_a_quantized_base_is_refused(tmp_path):
    trained(tmp_path / "adapter")
    config = json.loads((tiny("llama") / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"base are quantized.*name the model that they were quantized from with --ad"):
        merge(str(tmp_path / "adapter"), tmp_path / "merged", base=str(tmp_path / "base"))
    assert not (tmp_path / "merged").exists()


def test_a_base_that_is_gone_is_asked_for(tmp_path):
    trained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(file.read_text().replace(str(tiny("llama")), str(tmp_path / "gone")))
    with pytest.raises(ValueError, match=r"gone.*--adapter-of"):
        merge(str(tmp_path / "adapter"), tmp_path / "merged")


def test_only_lora_adapters_are_merged(tmp_path):
    with pytest.raises(ValueError, match="tiny:llama is no adapter but a whole model"):
        merge("tiny:llama", tmp_path / "merged")
    prompts = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny:llama"}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(prompts))
    with pytest.raises(ValueError, match="PROMPT_TUNING adapter; only LoRA can be merged"):
        merge(str(tmp_path / "a"), tmp_path / "merged")


def test_a_folder_in_use_is_left_alone(tmp_path):
    trained(tmp_path / "adapter")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine.txt").touch()
    with pytest.raises(ValueError, match="merged holds something already; choose a new folder"):
        merge(str(tmp_path / "adapter"), tmp_path / "merged")
    assert [file.name for file in (tmp_path / "merged").iterdir()] == ["mine.txt"]

import pytest
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from alignkit.models.adapters import peft_config
from alignkit.models.spec import Adapter
from alignkit.models.tiny import tiny
from tests.cli.commands import invoke


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path / "cache"))
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny("llama")), peft_config(Adapter(rank=2)))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_it_says_where_the_model_is_and_how_to_load_it(adapter, tmp_path):
    result = invoke("merge", str(adapter), "-o", str(tmp_path / "merged"))
    assert result.exit_code == 0, result.stderr
    first, second, third = result.stdout.splitlines()
    assert first == f"model: {tmp_path / 'merged'}"
    assert third == f"talk:  alignkit chat {tmp_path / 'merged'}"
    found: dict = {}
    exec(second.removeprefix("load:  "), found)
    assert type(found["model"]).__name__ == "LlamaForCausalLM"


def test_what_cannot_be_merged_is_said_without_a_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path / "cache"))
    result = invoke("merge", "tiny:llama", "-o", str(tmp_path / "merged"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(
        "tiny:llama is no adapter but a whole model, or nothing at all; there is nothing to merge\n"
    )

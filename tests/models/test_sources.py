import pytest
from transformers import AutoConfig

from alignkit.models.sources import resolve
from alignkit.models.tiny import byte_tokenizer


def test_a_folder_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "runs" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("runs/x") == str(tmp_path / "runs" / "x")


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen2.5-7B-Instruct"])
def test_a_hub_id_passes_through(name):
    assert resolve(name) == name


@pytest.mark.parametrize("path", ["./runs/x", "/no/such", "runs/x/checkpoint-3", "~/nowhere", "owner/", "C:\\models"])
def test_a_path_that_is_not_there_is_an_error(path):
    with pytest.raises(ValueError, match="no such folder, and a Hub id has the form owner/name"):
        resolve(path)


def test_a_file_is_not_a_model(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model\.gguf is a file; write the folder that holds the model"):
        resolve(str(tmp_path / "model.gguf"))


def test_a_tiny_model_takes_a_tokenizer_of_any_kind(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["alpha"])
    tokenizer.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(resolve("tiny:phi3", str(tmp_path))).vocab_size == 260
    assert AutoConfig.from_pretrained(resolve("tiny:phi3", "tiny:llama")).vocab_size == 259

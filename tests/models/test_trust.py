"""What is said of weights that are pickles leads to weights that are not. Attacks: tests/test_canaries.py."""

import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from alignkit.models.adapters import peft_config
from alignkit.models.inference import load_for_inference
from alignkit.models.load import load_config, load_model, locate
from alignkit.models.spec import Adapter, ModelSpec
from alignkit.models.tiny import tiny

COMMIT = "0123456789" * 4


def follow(error):
    """Do what the message says."""
    exec(re.search(r'convert it: python -c "(.*)"$', str(error)).group(1))


def test_the_weights_of_a_model_are_converted_as_the_message_says(tmp_path):
    folder = shutil.copytree(tiny("llama"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    torch.save({}, folder / "training_args.bin")
    assert load_model(ModelSpec(path=str(folder))), "beside safetensors, pickles are not looked at"
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no model\.safetensors, and pytorch_model\.bin is a pickle") as caught:
        locate(ModelSpec(path=str(folder)))
    follow(caught.value)
    loaded = load_model(ModelSpec(path=str(folder))).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in weights.items())


def test_the_weights_of_an_adapter_are_converted_as_the_message_says(tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny("llama"))
    get_peft_model(base, peft_config(Adapter(rank=2))).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    torch.save(weights, tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no adapter_model\.safetensors, and adapter_model\.bin is a") as caught:
        load_for_inference(str(tmp_path))
    follow(caught.value)
    load_for_inference(str(tmp_path))
    assert load_file(tmp_path / "adapter_model.safetensors").keys() == weights.keys()


@pytest.mark.parametrize(
    ("path", "revision"), [("org/model", None), ("org/model", "main"), ("./model", COMMIT), ("model", COMMIT)]
)
def test_code_is_trusted_of_a_repository_at_a_commit_alone(path, revision):
    with pytest.raises(ValueError, match="trust_remote_code runs code that others wrote: it needs a path of the form"):
        ModelSpec(path=path, revision=revision, trust_remote_code=True)


def test_the_code_that_runs_is_that_of_the_commit(monkeypatch):
    monkeypatch.setattr("alignkit.models.load.base_of_adapter", lambda path, revision: None)
    location = locate(ModelSpec(path="org/model", revision=COMMIT, trust_remote_code=True))
    assert location.code == {"trust_remote_code": True, "code_revision": COMMIT}
    assert locate(ModelSpec(path="org/model", revision=COMMIT)).code == {"trust_remote_code": False}
    seen = {}

    config = SimpleNamespace(auto_map={"AutoConfig": "other/repo--evil.Evil"})

    class Auto:
        @staticmethod
        def from_pretrained(path, **options):
            seen.update(path=path, **options)
            return config

    monkeypatch.setattr("alignkit.models.load.AutoConfig", Auto)
    with pytest.raises(ValueError, match=r"org/model runs the code of other/repo--evil\.Evil, which the"):
        load_config(location)
    assert seen == {"path": "org/model", "revision": COMMIT, "trust_remote_code": True, "code_revision": COMMIT}
    config.auto_map = {"AutoConfig": "org/model--fine.Fine", "AutoModelForCausalLM": "fine.Model"}
    assert load_config(location)


def test_a_folder_of_the_repository_s_name_is_not_trusted(tmp_path, monkeypatch):
    shutil.copytree(tiny("llama"), tmp_path / "org" / "model")
    monkeypatch.chdir(tmp_path)
    location = locate(ModelSpec(path="org/model", revision=COMMIT, trust_remote_code=True))
    assert location.code == {"trust_remote_code": False}

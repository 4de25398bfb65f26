import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from alignkit.models.reward import draw_head, is_head_alone, load_reward_model, reward_peft_config
from alignkit.models.sources import resolve
from alignkit.models.spec import Adapter, ModelSpec
from tests.objectives.properties import assert_refuses

SPEC = ModelSpec(path="tiny:qwen2")
TOKENS = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 9]])


def scores(model):
    model.config.pad_token_id = 258
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def test_a_new_head_is_drawn_from_the_seed_and_nothing_else():
    state = torch.get_rng_state()
    first, again, other = (load_reward_model(SPEC, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)
    assert torch.equal(first.model.embed_tokens.weight, other.model.embed_tokens.weight)
    assert scores(first).shape == (2, 1)


def test_a_saved_reward_model_keeps_its_head(tmp_path):
    model = load_reward_model(SPEC, seed=5)
    model.save_pretrained(tmp_path)
    assert torch.equal(scores(load_reward_model(ModelSpec(path=str(tmp_path)), seed=6)), scores(model))


def test_a_saved_adapter_brings_its_head(tmp_path):
    model = get_peft_model(load_reward_model(SPEC, seed=5), reward_peft_config(Adapter(rank=2)))
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value += 0.1
    model.save_pretrained(tmp_path)
    loaded = load_reward_model(ModelSpec(path=str(tmp_path)), seed=6)
    assert torch.equal(scores(loaded), scores(model))
    trained = [name for name, value in loaded.named_parameters() if value.requires_grad]
    assert any("score" in name for name in trained)
    assert all("lora" in name or "score" in name for name in trained)


@pytest.mark.parametrize("path", ["tiny:qwen2", "tiny:gpt2"])
def test_a_head_is_drawn_again_as_it_was_drawn(path):
    spec = ModelSpec(path=path)
    model, other = load_reward_model(spec, seed=5), load_reward_model(spec, seed=6)
    state = torch.get_rng_state()
    draw_head(other, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(other.score.weight, model.score.weight)


def test_without_an_adapter_the_head_alone_is_trained_and_saved(tmp_path):
    model = get_peft_model(load_reward_model(SPEC, seed=5), reward_peft_config(None))
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert [*trained] == ["base_model.model.score.modules_to_save.default.weight"]
    with torch.no_grad():
        trained[next(iter(trained))] += 0.1
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 1000
    assert is_head_alone(LoraConfig.from_pretrained(tmp_path))
    assert not is_head_alone(reward_peft_config(Adapter()))
    assert torch.equal(scores(load_reward_model(ModelSpec(path=str(tmp_path)), seed=6)), scores(model))


def test_refusals(tmp_path):
    both = {"path": "tiny:llama", "head_only": True, "adapter": Adapter()}
    message = "head_only: true freezes what model.adapter would train; remove one of the two"
    assert_refuses(message, ModelSpec, **both)
    config = json.loads((resolve_path("tiny:qwen2") / "config.json").read_text())
    config |= {"architectures": ["Qwen2ForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    several = f"{tmp_path} gives 3 numbers for a text; a reward model gives 1"
    assert_refuses(several, load_reward_model, ModelSpec(path=str(tmp_path)))


def resolve_path(path):
    from pathlib import Path

    return Path(resolve(path))


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2", "phi3", "gpt2", "qwen3"])
def test_common_architectures_have_a_head(architecture):
    model = load_reward_model(ModelSpec(path=f"tiny:{architecture}"))
    assert model.num_labels == 1

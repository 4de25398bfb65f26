"""The same architecture with fewer layers: its cost, counted or timed at two depths, gives the cost of any depth."""

import copy
from typing import Any

import torch
from peft import get_peft_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForSequenceClassification, PreTrainedConfig

from alignkit.models.load import architecture
from alignkit.models.precision import compute_dtype
from alignkit.objectives import RewardObjective
from alignkit.recipe.build import adapter_of
from alignkit.recipe.schema import Recipe

SHARE = 4  # the deeper of the two has about a quarter of the layers: enough to tell a layer's cost from the rest


def depth(config: PreTrainedConfig) -> int:
    """Layers of the model's text part."""
    return config.get_text_config().num_hidden_layers


def depths(config: PreTrainedConfig) -> tuple[int, int]:
    """Two depths to look at, both whole repetitions of the model's pattern of layers; equal if it is shallow itself."""
    whole, period = depth(config), _period(getattr(config.get_text_config(), "layer_types", None) or [])
    deeper = max(2, round(whole / SHARE / period)) * period
    return (period, deeper) if deeper < whole else (whole, whole)


def shallow(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    """A copy with so many layers."""
    copied: Any = copy.deepcopy(config)
    text = copied.get_text_config()
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types[:layers])
    text.num_hidden_layers = layers
    return copied


def random_model(recipe: Recipe, config: PreTrainedConfig) -> Any:
    """The recipe's model as it is loaded to be trained, before its adapter, with random weights."""
    frozen = recipe.model.adapter is not None
    attention = recipe.model.attention if recipe.model.attention in ("eager", "sdpa") else None
    options: dict[str, Any] = {"dtype": compute_dtype(recipe.model) if frozen else torch.float32}
    if attention is not None:
        options["attn_implementation"] = attention
    if not isinstance(recipe.objective, RewardObjective):
        cls: Any = architecture(config)
        return (getattr(cls, "_from_config", None) or cls.from_config)(config, **options)
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config, **options)
    for name, weight in model.named_parameters():
        weight.requires_grad_(not recipe.model.head_only or name.startswith("score."))
    return model


def fake_model(recipe: Recipe, config: PreTrainedConfig) -> Any:
    """The recipe's model with its adapter; its weights have sizes and no content."""
    adapter = adapter_of(recipe)
    with torch.device("meta"):
        model = random_model(recipe, config)
        if adapter is not None:
            model = get_peft_model(model, adapter, low_cpu_mem_usage=True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        _replace_weights(model)
    return model


def extrapolated(at: tuple[int, int], costs: tuple[float, float], layers: int) -> tuple[float, float]:
    """(cost of all the layers, cost of what is there once), from the costs at two depths."""
    (first, second), (low, high) = at, costs
    slope = (high - low) / (second - first) if second > first else high / second
    once = max(0.0, high - slope * second)
    return (slope * layers, once)


def _replace_weights(model: nn.Module) -> None:
    """Weights and buffers on the meta device by ones that seem to lie in memory, tied ones by one."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, old in tensors.items():
                if old is not None and id(old) not in made:
                    new = torch.empty_like(old, device="cpu")
                    made[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
                tensors[name] = None if old is None else made[id(old)]


def _period(kinds: list[str]) -> int:
    """After how many layers their kinds repeat."""
    for period in range(1, len(kinds)):
        if all(kind == kinds[place % period] for place, kind in enumerate(kinds)):
            return period
    return 1

"""Reward models: a language model whose head gives one number for a text, read at its last token."""

import torch
from peft import LoraConfig, PeftModel
from peft.utils.constants import DUMMY_TARGET_MODULES
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from alignkit.models.adapters import peft_config
from alignkit.models.load import load_config, locate, model_kwargs
from alignkit.models.spec import Adapter, ModelSpec
from alignkit.models.trust import load_adapter

HEAD = "score"  # what transformers call it


def load_reward_model(spec: ModelSpec, *, seed: int = 0, trained: bool = False) -> PreTrainedModel | PeftModel:
    """The model with its head, which is new and drawn from `seed` unless the model is a reward model already.

    Without the adapter the recipe adds (the trainer does that); an adapter folder comes trainable, with its head.
    `trained` refuses a model whose head would be new.

    Raises:
        ValueError: no such model, one that transformers cannot give a head for, or one with several outputs.
    """
    location = locate(spec)
    config = load_config(location)
    if type(config) not in AutoModelForSequenceClassification._model_mapping:
        raise ValueError(
            f"{spec.path} is a {config.model_type}, for which transformers has no reward head; choose another"
        )
    trained_head = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
    if trained_head and config.num_labels != 1:
        raise ValueError(f"{spec.path} gives {config.num_labels} numbers for a text; a reward model gives 1")
    if trained and not (trained_head or location.adapter):
        raise ValueError(f"{spec.path} is no reward model: its head would be drawn at random; train one first")
    kwargs = model_kwargs(spec, frozen=spec.head_only)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(location.model, num_labels=1, **kwargs)
    if location.adapter is not None:
        return load_adapter(model, location.adapter, revision=location.revision, trainable=True)
    return model


def draw_head(model: PreTrainedModel, *, seed: int) -> None:
    """Draw the head again, as `load_reward_model` draws a new one from this seed, to the last bit."""
    head = getattr(model, HEAD)
    for parameter in head.parameters():
        parameter._is_hf_initialized = False
    head._is_hf_initialized = False
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model._init_weights(head)


def reward_peft_config(adapter: Adapter | None) -> LoraConfig:
    """peft's configuration of an adapter on a reward model; without one, of the head alone on the frozen model."""
    config = LoraConfig(target_modules=DUMMY_TARGET_MODULES) if adapter is None else peft_config(adapter)
    config.task_type = "SEQ_CLS"  # by which peft also trains the head, whole, and saves it with the adapter
    return config


def is_head_alone(config: LoraConfig) -> bool:
    """Whether a saved adapter is a head without an adapter's matrices."""
    return config.target_modules in (DUMMY_TARGET_MODULES, {DUMMY_TARGET_MODULES})

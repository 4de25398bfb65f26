"""Reward models: a language model whose head gives one number for a text, read at its last token."""

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from alignkit.models.adapters import peft_config
from alignkit.models.load import load_config, locate, model_kwargs
from alignkit.models.spec import Adapter, ModelSpec

HEAD = "score"  # what transformers call it


def load_reward_model(spec: ModelSpec, *, seed: int = 0, trained: bool = False) -> PreTrainedModel | PeftModel:
    """The model with its head, which is new and drawn from `seed` unless the model is a reward model already.

    Without the adapter the recipe adds (the trainer does that); an adapter folder comes trainable, with its head.
    `spec.head_only` freezes all weights but the head's. `trained` refuses a model whose head would be new.

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
    kwargs = model_kwargs(spec)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(location.model, num_labels=1, **kwargs)
    if location.adapter is not None:
        return PeftModel.from_pretrained(model, location.adapter, revision=location.revision, is_trainable=True)
    if spec.head_only:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(f"{HEAD}."))
    return model


def reward_peft_config(adapter: Adapter) -> LoraConfig:
    """peft's configuration of an adapter on a reward model."""
    config = peft_config(adapter)
    config.task_type = "SEQ_CLS"  # by which peft also trains the head, whole, and saves it with the adapter
    return config

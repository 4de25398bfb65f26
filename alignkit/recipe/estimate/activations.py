"""What a micro-batch needs beside weights and gradients, counted on tensors that have sizes and no content."""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedConfig

from alignkit.models.load import load_config, locate
from alignkit.models.precision import compute_dtype
from alignkit.objectives import RewardObjective
from alignkit.recipe.estimate.live import LiveBytes
from alignkit.recipe.estimate.rehearsal import Rows, rehearse, rows_of_a_batch
from alignkit.recipe.estimate.shallow import depth, depths, extrapolated, fake_model, shallow
from alignkit.recipe.preview import Preview
from alignkit.recipe.schema import Recipe

ON_CPU = {"use_cpu": True, "bf16": False, "fp16": False}
MAPPED = 32 * 2**20  # bytes from which the C library gives a block pages of its own, and takes them back whole


@dataclass(frozen=True, kw_only=True)
class Working:
    """Bytes of the largest micro-batch at its peak."""

    activations: int  # in proportion to the layers
    head: int  # the output head, the loss and what else is there once
    with_gradients: int  # of both with the gradients that are there at the same time
    asked: int  # of all the blocks of less than MAPPED that are ever asked for


def working_memory(recipe: Recipe, preview: Preview) -> Working:
    """Trace a forward and a backward pass on the longest rows, at two depths.

    Raises:
        Exception: whatever a model raises whose forward depends on the values of its activations.
    """
    config = load_config(locate(recipe.model))
    rows = Rows.of(preview).longest(rows_of_a_batch(preview))
    with tempfile.TemporaryDirectory() as folder:
        trainer = rehearse(recipe, preview, rows, stand_in(recipe, preview), Path(folder), **ON_CPU)
        inputs = next(iter(trainer.get_train_dataloader()))
        at = depths(config)
        costs = [traced(recipe, trainer, inputs, shallow(config, layers)) for layers in dict.fromkeys(at)]
    (activations, head), both, asked = (
        extrapolated(at, (low, high), depth(config)) for low, high in zip(costs[0], costs[-1], strict=True)
    )
    return Working(
        activations=round(activations), head=round(head), with_gradients=round(sum(both)), asked=round(sum(asked))
    )


def stand_in(recipe: Recipe, preview: Preview) -> Any:
    """A model of no size with the recipe's vocabulary, on which a trainer is built for its batches and its loss."""
    tokenizer = getattr(preview.tokenizer, "tokenizer", preview.tokenizer)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    config.num_labels = 1
    scores = isinstance(recipe.objective, RewardObjective)
    return (LlamaForSequenceClassification if scores else LlamaForCausalLM)(config)


def traced(recipe: Recipe, trainer: Any, inputs: Any, config: PreTrainedConfig) -> tuple[int, int, int]:
    """Bytes of `trainer`'s loss and its gradient on a model of this configuration, without weights.

    Their peak without the weights' gradients, their peak with those that are there at the same time, and what is asked
    for in blocks below MAPPED.
    """
    model = fake_model(recipe, config)
    prepare(model, trainer)
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    weights = [*model.parameters(), *model.buffers()]
    trainer.model, trainer.ref_model = model, None
    if recipe.objective.needs_reference and not isinstance(model, PeftModel):
        trainer.ref_model = fake_model(recipe, config)
        weights += [*trainer.ref_model.parameters(), *trainer.ref_model.buffers()]
    without_values(trainer)
    live = LiveBytes(weights)
    compute = compute_dtype(recipe.model)
    half = contextlib.nullcontext() if compute is torch.float32 else torch.autocast("cpu", dtype=compute)
    with live:
        with half:
            loss = trainer.compute_loss(model, dict(inputs), num_items_in_batch=torch.tensor(1.0))
        loss.backward()
    gradients = [weight.grad for weight in trainable if weight.grad is not None]
    return live.peak(without=gradients), live.peak(), live.asked(below=MAPPED)


def without_values(trainer: Any) -> None:
    """Leave out of a trainer what looks at values, which fake tensors do not have: the loss of a row, and metrics.

    Both are as small as a few numbers for each token. In place of the loss stands a sum through which gradients flow.
    """
    trainer._loss = lambda batch, *counts: (sum(value.sum() for value in vars(batch).values() if _trained(value)), {})
    trainer.metrics = lambda *what: {}
    trainer._record = lambda *what: None
    trainer.accelerator.gather = lambda tensor: torch.zeros(tensor.shape)


def prepare(model: Any, trainer: Any) -> None:
    """As transformers' trainer prepares a model."""
    model.train()
    model.config.pad_token_id = getattr(trainer.processing_class, "pad_token_id", None)
    if trainer.args.activation_checkpointing:
        options = dict(trainer.args.activation_checkpointing_kwargs or {})
        own = {name: options.pop(name) for name in ("every_n_layers", "offload") if name in options}
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options or None, **own)
        if isinstance(model, PeftModel):
            model.enable_input_require_grads()


def _trained(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad

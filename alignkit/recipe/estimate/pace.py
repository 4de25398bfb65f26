"""Seconds of an optimiser step on this machine, timed on the architecture with few layers and continued to all.

What is timed is the recipe's own trainer with random weights, on rows of the mean length. Between processes the sums of
gradients, and what ZeRO gathers, are counted in bytes.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import torch
from transformers import PreTrainedConfig, PrinterCallback, TrainerCallback

from alignkit.models.load import load_config, locate
from alignkit.models.precision import device_type
from alignkit.recipe.estimate.memory import Model, Zero
from alignkit.recipe.estimate.rehearsal import Rows, rehearse, rows_of_a_batch
from alignkit.recipe.estimate.shallow import depth, depths, extrapolated, random_model, shallow
from alignkit.recipe.preview import Preview
from alignkit.recipe.schema import Recipe

STEPS = 3  # of which the first warms up
PATIENCE = 30  # seconds that a timing may take
PRODUCT = 1024  # rows of the square matrices whose product says how fast the machine is
HELD = 20  # bytes of a trained weight and all that goes with it, at most
EXCHANGE = 2e8  # bytes a second that two processes exchange, and add, on CPUs, as measured; GPUs overlap it with work


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds, of one process by itself."""

    micro_batch: float  # forward and backward pass
    update: float  # of all trained weights

    def step(self, recipe: Recipe, args: Any, model: Model, *, processes: int, zero: Zero) -> float:
        """Seconds of an optimiser step of so many processes; ZeRO shares the update among them."""
        micro_batches = args.gradient_accumulation_steps
        update = self.update / (processes if zero else 1)
        sent = 0.0
        if args.device.type == "cpu":
            passes = 3 if recipe.objective.needs_reference else 2
            sent = (processes - 1) / processes * exchanged(micro_batches, passes, model, zero)
        return micro_batches * self.micro_batch + update + sent / EXCHANGE


def exchanged(micro_batches: int, passes: int, model: Model, zero: Zero) -> int:
    """Bytes that processes have to exchange in a step: all that the others hold or found out.

    DDP sums gradients once a step, DeepSpeed with every micro-batch. ZeRO-2 gathers what was updated, ZeRO-3 the
    weights for each of the passes through them.
    """
    gradients = 4 * model.trained
    if zero == 0:
        return 2 * gradients
    gathered = passes * micro_batches * model.weights if zero == 3 else gradients
    return micro_batches * gradients + gathered


def pace(recipe: Recipe, preview: Preview) -> Pace:
    """Time a few steps at two depths.

    Raises:
        ValueError: this machine cannot do it in the time or in the memory that are there.
    """
    if recipe.model.adapter and recipe.model.adapter.quantize != "none":
        raise ValueError("weights of few bits are not made at random")
    config = load_config(locate(recipe.model))
    rows = Rows.of(preview).typical(rows_of_a_batch(preview))
    at = depths(config)
    refuse_long(recipe, shallow(config, at[1]), float(rows.tokens.sum()))
    costs = [timed(recipe, preview, rows, shallow(config, layers)) for layers in dict.fromkeys(at)]
    micro, update = (
        sum(extrapolated(at, (low, high), depth(config))) for low, high in zip(costs[0], costs[-1], strict=True)
    )
    return Pace(micro_batch=micro, update=update)


def refuse_long(recipe: Recipe, config: PreTrainedConfig, tokens: float) -> None:
    """Refuse what would keep the reader waiting, or fill the memory.

    Raises:
        ValueError: which of the two.
    """
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in random_model(recipe, config).parameters())
    if device_type() != "cpu":
        return
    free = psutil.virtual_memory().available
    if HELD * weights > free:
        raise ValueError(f"{config.get_text_config().num_hidden_layers} layers do not fit into {free / 2**30:.0f} GiB")
    seconds = STEPS * 8 * weights * tokens / products_a_second()
    if seconds > PATIENCE:
        raise ValueError(f"a few steps of a few layers would take {seconds / 60:.0f} minutes here")


def products_a_second() -> float:
    """Additions and multiplications that this machine's CPU does in a second, in large products of matrices."""
    square = torch.ones(PRODUCT, PRODUCT)
    torch.mm(square, square)
    start = time.perf_counter()
    torch.mm(square, square)
    return 2 * PRODUCT**3 / (time.perf_counter() - start)


def timed(recipe: Recipe, preview: Preview, rows: Rows, config: PreTrainedConfig) -> tuple[float, float]:
    """Seconds of a micro-batch and of an update."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(recipe, config)
        steps = {"max_steps": STEPS, "gradient_accumulation_steps": 1}
        trainer = rehearse(recipe, preview, rows, model, Path(folder), **steps)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        trainer.train()
    return mean(clock.micro_batches[1:]), mean(clock.updates[1:])


class Clock(TrainerCallback):
    """Notes how long the parts of steps take."""

    def __init__(self) -> None:
        self.micro_batches: list[float] = []
        self.updates: list[float] = []
        self._start = 0.0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._start = _now()

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.micro_batches.append(_now() - self._start)
        self._start = _now()

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.updates.append(_now() - self._start)


def _now() -> float:
    """Once everything that was started on an accelerator is done."""
    if device_type() != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter()

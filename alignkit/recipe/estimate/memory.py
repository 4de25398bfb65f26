"""Memory of one process at its peak, by what it is for.

Weights, gradients and optimizer are counted; activations are traced on tensors without content (`activations`). What
DeepSpeed and the allocator add was measured on two CPU processes, and for GPUs it is what DeepSpeed's code allocates:

| held by each of n processes     | one process, DDP  | ZeRO-2            | ZeRO-3                                    |
|---------------------------------|-------------------|-------------------|-------------------------------------------|
| weights W, reference            | all               | all               | 1/n, and the layers in use (all below 1e9) |
| a copy that is updated, float32 | none              | 1/n               | 1/n                                       |
| optimizer                       | all               | 1/n               | 1/n                                       |
| gradients G                     | all               | a bucket, and 1/n | a bucket, and 1/n                         |
| buffers                         | G with DDP        | a bucket          | two buckets                               |

ZeRO-3's gathered layers are held twice: once as they were sent, once in place (as measured; see docs/estimates.md).
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import nn

from alignkit.models.load import load_config, locate
from alignkit.models.precision import compute_dtype
from alignkit.recipe.estimate.activations import Working
from alignkit.recipe.estimate.live import nbytes
from alignkit.recipe.estimate.shallow import fake_model
from alignkit.recipe.schema import Recipe

Zero = Literal[0, 2, 3]

BUCKET = 500_000_000  # elements of DeepSpeed's reduce bucket, unless its configuration says otherwise
LIVE = 1_000_000_000  # weights that ZeRO-3 holds gathered at most
FRAGMENTS = 0.06  # of what is ever asked of the C library's heap on CPUs; measured between 0.03 and 0.08
STORED = {"4bit": 0.53, "8bit": 1.0}  # bytes of a quantized weight, scales included
STATES = {"adamw": 8, "ademamix": 12, "lion": 4, "rmsprop": 4, "adagrad": 4, "sgd": 0, "lomo": 0}  # bytes of a weight


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a process. They add up to its peak, for which gradients and activations count where they coincide."""

    weights: int
    reference: int
    gradients: int
    optimizer: int
    activations: int
    head: int
    buffers: int  # of DDP or DeepSpeed
    allocator: int  # blocks that the allocator cannot give out again

    @property
    def peak(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True)
class Model:
    """A recipe's model in numbers."""

    weights: int  # bytes, as they are held in one piece
    parameters: int
    trained: int  # parameters
    optimizer: int  # bytes of the states of all trained parameters
    frozen: bool  # an adapter is trained, and the reference is the model without it


def count(recipe: Recipe, args: Any) -> Model:
    """Counted on the architecture, without weights."""
    model = fake_model(recipe, load_config(locate(recipe.model)))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return Model(
        weights=held(recipe, model),
        parameters=sum(weight.numel() for weight in model.parameters()),
        trained=sum(weight.numel() for weight in trained),
        optimizer=sum(states(weight, str(getattr(args.optim, "value", args.optim))) for weight in trained),
        frozen=recipe.model.adapter is not None,
    )


def held(recipe: Recipe, model: nn.Module) -> int:
    """Bytes of the weights, frozen ones in fewer bits where the adapter asks for it."""
    quantize = recipe.model.adapter.quantize if recipe.model.adapter else "none"
    if quantize == "none":
        return nbytes(model.parameters())
    linear = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name and not name.endswith("lm_head")
    }
    small = [weight for weight in model.parameters() if id(weight) in linear]
    others = [weight for weight in model.parameters() if id(weight) not in linear]
    return nbytes(others) + round(STORED[quantize] * sum(weight.numel() for weight in small))


def states(weight: torch.Tensor, optimizer: str) -> int:
    """Bytes of the optimizer's states of one weight. An optimizer that is not known counts as AdamW."""
    if "adafactor" in optimizer:
        return 4 * (sum(weight.shape) if weight.dim() > 1 else weight.numel())
    size = next((size for name, size in STATES.items() if name in optimizer), STATES["adamw"])
    bits = 4 if "4bit" in optimizer else 8 if "8bit" in optimizer else 32
    return weight.numel() * size * bits // 32


def memory(recipe: Recipe, args: Any, model: Model, working: Working, *, processes: int, zero: Zero) -> Memory:
    """Put the counts together for one of so many `processes`."""
    on_cpu = args.device.type == "cpu"
    needs_copy = recipe.objective.needs_reference and not model.frozen
    reference = model.weights if needs_copy and not getattr(args, "precompute_ref_log_probs", False) else 0
    if zero == 0:
        parts = _whole(args, model, working, processes, reference)
    else:
        size = 4 if compute_dtype(recipe.model) is torch.float32 else 2
        parts = _sharded(args, model, working, processes, reference, zero, size)
    return Memory(**parts, allocator=round(FRAGMENTS * working.asked) if on_cpu else 0)


def _whole(args: Any, model: Model, working: Working, processes: int, reference: int) -> dict[str, int]:
    """Everything on every process."""
    gradients = 4 * model.trained
    busy = working.activations + working.head
    kept = gradients  # while the next micro-batch of the step runs
    if args.gradient_accumulation_steps == 1:
        kept = max(working.with_gradients, gradients, busy) - busy
    return {
        "weights": model.weights,
        "reference": reference,
        "gradients": kept,
        "optimizer": model.optimizer,
        "activations": working.activations,
        "head": working.head,
        "buffers": gradients if processes > 1 else 0,
    }


def _sharded(
    args: Any, model: Model, working: Working, processes: int, reference: int, zero: Zero, size: int
) -> dict[str, int]:
    """DeepSpeed's sharding. It holds weights in the precision of the computation, `size` bytes each."""
    weights = model.weights if model.frozen else min(model.weights, size * model.parameters)
    gradients = size * model.trained
    bucket = min(gradients, size * BUCKET)
    copy = 4 * model.trained // processes
    later = gradients // processes if args.gradient_accumulation_steps > 1 or gradients > bucket or zero == 3 else 0
    filled = bucket if args.device.type == "cpu" else size * BUCKET  # an empty page costs a CPU nothing
    share = processes if zero == 3 else 1
    gathered = min(weights, weights * LIVE // max(model.parameters, 1)) if zero == 3 else 0
    return {
        "weights": weights // share + copy,
        "reference": reference // share,
        "gradients": (bucket if zero == 2 else 0) + later,
        "optimizer": model.optimizer // processes,
        "activations": working.activations,
        "head": working.head,
        "buffers": filled * (2 if zero == 3 else 1) + 2 * gathered * (2 if reference else 1),
    }

"""Number format and attention kernel, chosen by the hardware that is there."""

import importlib.util
import os

import torch

from alignkit.models.spec import ModelSpec

TRUE = ("1", "true", "yes", "on")


def device_type() -> str:
    """Where training runs: `cuda` (AMD's GPUs too), another accelerator, or `cpu`, also when accelerate is told so."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in TRUE:
        return "cpu"
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator else "cpu"


def compute_dtype(spec: ModelSpec) -> torch.dtype:
    """Format of the matrix products; master weights of full training stay float32.

    `auto` is bfloat16 on a GPU that computes in it and float32 elsewhere: on CPUs autocast was measured 25 times
    slower.

    Raises:
        ValueError: a half precision the hardware does not have.
    """
    on_gpu = device_type() == "cuda"
    bfloat16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if spec.precision == "auto":
        return torch.bfloat16 if bfloat16 else torch.float32
    if spec.precision == "bfloat16" and not bfloat16:
        instead = "auto, float16 or float32" if on_gpu else "auto or float32"
        raise ValueError(f"precision = 'bfloat16' needs a GPU that computes in bfloat16; write {instead}")
    if spec.precision == "float16" and not on_gpu:
        raise ValueError("precision = 'float16' needs a GPU; write auto or float32")
    return getattr(torch, spec.precision)


def trainer_precision(spec: ModelSpec) -> dict[str, bool]:
    """The keys of a trainer's configuration that follow from the precision.

    All three are always given: TRL switches bf16 on by itself, which is slow or an error without a GPU.
    """
    dtype = compute_dtype(spec)
    return {
        "bf16": dtype is torch.bfloat16,
        "fp16": dtype is torch.float16,
        "use_cpu": device_type() == "cpu",
    }


def attention_kernel(spec: ModelSpec, flash: bool = True) -> str | None:
    """Attention kernel to ask transformers for; None leaves it the choice: SDPA, or eager where a model needs that.

    `flash` says whether the model's code supports FlashAttention.

    Raises:
        ValueError: FlashAttention asked for where it cannot run.
    """
    possible = device_type() == "cuda" and compute_dtype(spec) is not torch.float32
    if spec.attention == "auto":
        installed = importlib.util.find_spec("flash_attn") is not None
        return "flash_attention_2" if possible and flash and installed and _ampere() else None
    if spec.attention.startswith("flash_attention") and not possible:
        raise ValueError(
            f"attention = {spec.attention!r} needs a GPU and bfloat16 or float16; write auto, sdpa or flex_attention"
        )
    return spec.attention


def _ampere() -> bool:
    """FlashAttention 2 runs on compute capability 8.0 and above."""
    return torch.cuda.get_device_capability() >= (8, 0)

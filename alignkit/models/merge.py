"""An adapter made part of its model, which then needs no adapter."""

from pathlib import Path
from typing import cast

import torch
from peft import PeftConfig, PeftModel, PeftType
from transformers import AutoConfig

from alignkit.models.adapters import base_of_adapter
from alignkit.models.inference import load_for_inference
from alignkit.models.sources import resolve


def merge(adapter: str, folder: str | Path, base: str | None = None) -> Path:
    """Save the model W + (alpha / rank) B A, its tokenizer and chat template in a new folder.

    The sum is taken in float32 and stored in the format that the base is stored in. `base` is the adapter's model,
    where the one that its folder names is not to be had.

    Raises:
        ValueError: no LoRA adapter, a base whose weights are quantized, or a folder that holds something already.
    """
    target = Path(folder).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{folder} holds something already; choose a new folder")
    path = resolve(adapter)
    named = base_of_adapter(path)
    if named is None:
        raise ValueError(f"{adapter} is no adapter but a whole model, or nothing at all; there is nothing to merge")
    kind = PeftConfig.from_pretrained(path).peft_type
    if kind != PeftType.LORA:
        raise ValueError(f"{adapter} is a {kind.value} adapter; only LoRA can be merged")
    stored = _stored(base or named)
    model, processor = load_for_inference(adapter, base=base, precision="float32")
    merged = cast(PeftModel, model).merge_and_unload(safe_merge=True).to(stored)
    merged.save_pretrained(target)
    processor.save_pretrained(target)
    return target


def _stored(base: str) -> torch.dtype:
    """Number format of the base's weights.

    Raises:
        ValueError: no such model, or quantized weights, which a sum would have to be quantized back into.
    """
    try:
        config = AutoConfig.from_pretrained(resolve(base), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot load the adapter's model {base}: {' '.join(str(error).split())}; name it with --adapter-of"
        ) from error
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(
            f"the weights of {base} are quantized, and merging would round the adapter away; name the model that they "
            "were quantized from with --adapter-of"
        )
    return config.dtype or torch.float32

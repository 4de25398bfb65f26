"""LoRA and QLoRA: the adapter of a recipe in peft's terms, and folders that hold an adapter."""

import importlib.util
import json
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import BitsAndBytesConfig
from transformers.utils.peft_utils import find_adapter_config_file

from alignkit.models.spec import Adapter


def peft_config(adapter: Adapter) -> LoraConfig:
    """peft's configuration of the adapter. The trainer adds it: the reference is then the model without it."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=adapter.rank,
        lora_alpha=2 * adapter.rank if adapter.alpha is None else adapter.alpha,  # type: ignore[arg-type]  # any number
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets),
        use_dora=adapter.dora,
    )


def quantization(adapter: Adapter | None, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """How the frozen weights are stored: 4 bits as in QLoRA (NF4, double quantization), 8 bits, or None as they are.

    Raises:
        ValueError: bitsandbytes is not installed.
    """
    if adapter is None or adapter.quantize == "none":
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            f"adapter.quantize = {adapter.quantize!r} needs bitsandbytes; "
            "run pip install bitsandbytes, or write quantize: none"
        )
    if adapter.quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def base_of_adapter(path: str, revision: str | None = None) -> str | None:
    """The model that the adapter at `path` (folder or Hub id) was trained on; None if `path` is a model itself."""
    file = find_adapter_config_file(path, revision=revision)
    return json.loads(Path(file).read_text(encoding="utf-8"))["base_model_name_or_path"] if file else None

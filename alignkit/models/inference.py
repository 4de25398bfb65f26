"""A model that is only read, with its tokenizer: a folder, a Hub id, an adapter, or what else a recipe may name."""

from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from alignkit.models.adapters import base_of_adapter
from alignkit.models.load import load_model, load_tokenizer
from alignkit.models.precision import device_type
from alignkit.models.sources import resolve
from alignkit.models.spec import ModelSpec, Precision
from alignkit.models.trust import load_adapter


def load_for_inference(
    path: str, *, base: str | None = None, chat_template: str | None = None, precision: Precision = "auto"
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase | ProcessorMixin]:
    """Model and tokenizer, on the device that there is.

    `base` is the model of an adapter, where the one that the adapter's folder names is not to be had.

    Raises:
        ValueError: no such model, or a base for something that is no adapter.
    """
    tokenizer = None
    if base is not None:
        adapter = resolve(path)
        if base_of_adapter(adapter) is None:
            raise ValueError(f"{path} is no adapter, so it has no other model under it; leave {base} out")
        tokenizer = adapter if (Path(adapter) / "tokenizer_config.json").is_file() else None
    spec = ModelSpec(path=base or path, tokenizer=tokenizer, chat_template=chat_template, precision=precision)
    processor = load_tokenizer(spec)
    model: Any = load_model(spec, frozen=True)
    if base is not None:
        model = load_adapter(model, adapter)
    model.requires_grad_(False)
    if not getattr(model, "is_quantized", False):  # those are placed while they load
        model.to(device_type())
    return model.eval(), processor

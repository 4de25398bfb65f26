"""What a model's files may not do: weights that are pickles, and configurations that name code to import."""

import json
import os
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME as ADAPTER_WEIGHTS
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.peft_utils import find_adapter_config_file

# transformers would ask a service to convert a Hub model without safetensors, and load what that service writes
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".bin.index.json")
NOT_WEIGHTS = ("training_args.bin",)  # which nothing reads


def refuse_pickles(path: str) -> None:
    """Refuse the folder of a model that has weights, but none in safetensors. A Hub id is left to transformers."""
    folder = Path(path)
    if not folder.is_dir() or any((folder / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        return
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(PICKLES))
    if pickles := [name for name in names if name not in NOT_WEIGHTS]:
        loaded = f"AutoModelForCausalLM.from_pretrained({path!r})"
        convert = f"from transformers import AutoModelForCausalLM; {loaded}.save_pretrained({path!r})"
        raise ValueError(_pickle(path, pickles[0], SAFE_WEIGHTS_NAME, convert))


def load_adapter(model: Any, path: str, *, revision: str | None = None, trainable: bool = False) -> PeftModel:
    """The model with the adapter of a folder or Hub id.

    Raises:
        ValueError: an adapter whose weights are no safetensors, or whose configuration names a module to import.
    """
    config = json.loads(Path(str(find_adapter_config_file(path, revision=revision))).read_text(encoding="utf-8"))
    if config.get("megatron_config"):
        raise ValueError(f"{path} is an adapter of Megatron layers, whose module peft would import; it is not loaded")
    missing: dict[str, Any] = {"_raise_exceptions_for_missing_entries": False}
    if cached_file(path, ADAPTER_WEIGHTS, revision=revision, **missing) is None:
        old, new = (str(Path(path, name)) for name in ("adapter_model.bin", ADAPTER_WEIGHTS))
        convert = f"import torch, safetensors.torch as s; s.save_file(torch.load({old!r}, weights_only=True), {new!r})"
        raise ValueError(_pickle(path, "adapter_model.bin", ADAPTER_WEIGHTS, convert))
    return PeftModel.from_pretrained(model, path, revision=revision, is_trainable=trainable)


def _pickle(path: str, name: str, wanted: str, convert: str) -> str:
    return (
        f"{path} has no {wanted}, and {name} is a pickle, which can run code when it is read. If you trust where it is "
        f'from, convert it: python -c "{convert}"'
    )

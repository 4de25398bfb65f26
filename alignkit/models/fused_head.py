"""The seam to TRL's fused head, the only place in models/ that imports trl.

TRL patches the forward of a causal language model so that it answers `model(..., labels=labels, fused_lm_head=True)`
with log-probs, computed in tiles. Its trainers patch their models; what they did not patch is patched here, once.
What TRL took from the model's configuration (soft-capping, scaling) and from its trainer (temperature) is read off the
patch, so that it is understood in one place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getclosurevars
from types import CellType, FunctionType
from typing import Any

from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import add_fused_lm_head

from alignkit.models.answer_head import FIELDS, Logits, Some, score

COLUMNS = 32768  # vocabulary in a tile of TRL's kernel, its own choice


@dataclass(frozen=True, kw_only=True)
class Head:
    """What TRL found out about a model's output head."""

    logits: Logits
    float32: bool  # products are made in float32, outside autocast
    fields: tuple[str, ...]  # what besides log-probs TRL's trainer asks of this model
    backbone: str  # attribute that holds the model without its head


def with_fused_head(model: nn.Module, fields: tuple[str, ...] = FIELDS) -> nn.Module:
    """The same model, able to answer `model(..., labels=labels, fused_lm_head=True)`.

    Args:
        model: a causal language model, perhaps wrapped; one that was patched stays as it is.
        fields: what TRL computes besides log-probs.

    Raises:
        ValueError: an adapter on the output head, which the fused head would pass over.
    """
    core = core_of(model)
    if _patch(core) is None:
        if isinstance(core.get_output_embeddings(), BaseTunerLayer):
            raise ValueError("an adapter on lm_head would be ignored by the fused head; remove it from its targets")
        add_fused_lm_head(core, outputs=("log_probs", *fields))
    return model


def core_of(model: nn.Module) -> Any:
    """The causal language model inside the wrappers of peft, DDP, DeepSpeed and torch.compile."""
    inner = unwrapped(model)
    return inner.get_base_model() if isinstance(inner, PeftModel) else inner


def class_of(core: nn.Module) -> type[nn.Module]:
    """The model's own class, which `fully_shard` puts one of its making before."""
    return type(core).__bases__[1] if isinstance(core, FSDPModule) else type(core)


def learns_prompts(model: nn.Module) -> bool:
    """Whether peft puts virtual tokens before the real ones."""
    inner = unwrapped(model)
    return isinstance(inner, PeftModel) and inner.active_peft_config.is_prompt_learning


def head_of(core: nn.Module) -> Head:
    """Read the patch of a model with a fused head."""
    found = getclosurevars(_patched(core)).nonlocals
    return Head(
        logits=Logits(
            scale=found["logit_scale"], softcap=found["final_logit_softcapping"], temperature=found["temperature"]
        ),
        float32=found["cast_lm_head_to_fp32"],
        fields=tuple(name for name in FIELDS if name in found["outputs"]),
        backbone=found["backbone_attr"],
    )


def wrap_inside(core: nn.Module, wrap: Callable[[Callable], Callable]) -> None:
    """Replace the forward that TRL's patch falls back on.

    It lies under every wrapper of the model, accelerate's autocast included, whichever came first.
    """
    cell = _inside(core)
    cell.cell_contents = wrap(cell.cell_contents)


def inside(core: nn.Module) -> Callable:
    """The forward that TRL's patch falls back on."""
    return _inside(core).cell_contents


def kernel_score(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, logits: Logits, fields: tuple[str, ...] = ()
) -> Some:
    """`answer_head.score` by the fastest kernel of the device: TRL's Triton kernel on GPUs, ours elsewhere."""
    if hidden.device.type not in ("cuda", "xpu"):
        return score(hidden, weight, bias, targets, logits, fields)
    return trl_score(hidden, weight, bias, targets, logits, fields)


def trl_score(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, logits: Logits, fields: tuple[str, ...] = ()
) -> Some:
    """`answer_head.score` by TRL's kernel."""
    logps, entropy, _, mean_logits, is_top1 = ChunkedLogProbFunction.apply(
        hidden, weight, bias, targets, logits.temperature, COLUMNS, logits.softcap, logits.scale, fields
    )
    return logps, None if entropy is None else entropy.detach(), mean_logits, is_top1


def unwrapped(model: nn.Module) -> Any:
    return extract_model_from_parallel(model, keep_torch_compile=False)


def _inside(core: nn.Module) -> CellType:
    patched = _patched(core)
    return (patched.__closure__ or ())[patched.__code__.co_freevars.index("original_forward")]


def _patched(core: nn.Module) -> FunctionType:
    found = _patch(core)
    assert found is not None, "the model has no fused head"
    return found


def _patch(model: nn.Module) -> FunctionType | None:
    """Look for the patch in the forward and in what it wraps: accelerate wraps it once more for autocast."""
    function: Any = model.forward
    while function is not None:
        code = getattr(function, "__code__", None)
        if code is not None and "fused_lm_head" in code.co_varnames:
            return getattr(function, "__func__", function)
        function = getattr(function, "__wrapped__", None)
    return None

"""The seam to TRL's fused head, the only place in models/ that imports trl.

The head computes the log-prob of each label in tiles and never holds the (tokens, vocabulary) logits. TRL's trainers
patch their models with it; what they did not patch is patched here, once.
"""

from typing import Any

from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from trl.trainer import add_fused_lm_head

OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")


def with_fused_head(model: nn.Module) -> nn.Module:
    """The same model, able to answer `model(..., labels=labels, fused_lm_head=True)`.

    Raises:
        ValueError: an adapter on the output head, which the fused head would pass over.
    """
    core: Any = extract_model_from_parallel(model, keep_torch_compile=False)
    core = core.get_base_model() if isinstance(core, PeftModel) else core
    if not _has_fused_head(core):
        if isinstance(core.get_output_embeddings(), BaseTunerLayer):
            raise ValueError("an adapter on lm_head would be ignored by the fused head; remove it from its targets")
        add_fused_lm_head(core, outputs=OUTPUTS)
    return model


def _has_fused_head(model: nn.Module) -> bool:
    """Look for the patch in the forward and in what it wraps: accelerate wraps it once more for autocast."""
    function: Any = model.forward
    while function is not None:
        code = getattr(function, "__code__", None)
        if code is not None and "fused_lm_head" in code.co_varnames:
            return True
        function = getattr(function, "__wrapped__", None)
    return False

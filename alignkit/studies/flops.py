"""Floating-point operations of a forward: of a batch as it is run, and the fewest a backbone can do with.

Matrix products with weights are counted by torch; attention analytically, since torch's counter knows not every kernel.
A product of (n, k) and (k, m) is 2nkm operations; a query and a key that it attends to are 4 times the width of all
heads, in every layer. The backward is twice the forward in every way of running it, so ratios are those of training.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alignkit.models.forward import answer_logps
from alignkit.models.fused_head import core_of, with_fused_head
from alignkit.models.run_attention import blocks_of, kernel_of
from alignkit.models.shared_prefix import Packed
from alignkit.models.sharing import packed_rows

Batch = dict[str, Tensor]
PRODUCTS = ("mm", "addmm")  # of activations and weights


def run(model: nn.Module, batch: Batch, **options: Any) -> float:
    """Of the backbone in `answer_logps(model, batch, **options)`, attention included."""
    core = core_of(with_fused_head(model))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        answer_logps(model, batch, **options)
    counts = counter.get_flop_counts()[f"{type(core).__name__}.{core.base_model_prefix}"]
    products = sum(number for operation, number in counts.items() if operation.__name__.split(".")[0] in PRODUCTS)
    packed = _packed(core, batch) if options.get("shared_prefix") else None
    return products + _per_score(core) * (_row_scores(batch) if packed is None else _packed_scores(core, packed))


def fewest(model: nn.Module, batch: Batch) -> float:
    """Every token that an answer's log-prob depends on, once, with every key that it attends to, once."""
    core = core_of(with_fused_head(model))
    weights = sum(layer.weight.numel() for layer in core.base_model.modules() if isinstance(layer, nn.Linear))
    beginnings = set()
    for ids, real, answer in zip(
        *(batch[name] for name in ("input_ids", "attention_mask", "completion_mask")), strict=True
    ):
        tokens = ids[real.bool()].tolist()
        last = int(answer[real.bool()].nonzero().max())  # predicted, and of no influence itself
        known = 0
        for length, token in enumerate(tokens[:last], start=1):
            known = hash((known, token))
            beginnings.add((length, known))
    return 2 * weights * len(beginnings) + _per_score(core) * sum(length for length, _ in beginnings)


def head(model: nn.Module, batch: Batch, **options: Any) -> int:
    """Of the output head's forward: TRL's on a CPU runs on every position, others on those before an answer's token.

    A trained head builds its products once more in the backward, so that they need not be kept; that is as much again.
    """
    weight = core_of(model).get_output_embeddings().weight
    mask = batch["completion_mask"][:, 1:]
    everywhere = not options.get("shared_prefix") and weight.device.type == "cpu"
    return 2 * weight.numel() * (mask.numel() if everywhere else int(mask.sum()))


def _per_score(core: Any) -> int:
    config = core.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 4 * width * config.num_attention_heads * config.num_hidden_layers


def _row_scores(batch: Batch) -> int:
    """Causal kernels skip what lies ahead; with padding there is a mask, and none is skipped."""
    rows, width = batch["input_ids"].shape
    return rows * (width * (width + 1) // 2 if batch["attention_mask"].all() else width * width)


def _packed(core: Any, batch: Batch) -> Packed | None:
    asked = nn.functional.pad(batch["completion_mask"][:, 1:].bool(), (0, 1))
    return packed_rows(core, {name: batch[name] for name in batch if name != "completion_mask"}, asked, trim=True)


def _packed_scores(core: Any, packed: Packed) -> int:
    blocks = blocks_of(packed, None, causal=kernel_of(core) != "eager")
    return sum(block.scores for block in blocks)

"""Prompts and answers in, log-probs out: the one forward through which every trainer sees a model.

What is behind it is free to change; nothing outside this file depends on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from alignkit.models.answering import Question, routes, with_answers
from alignkit.models.fused_head import core_of, learns_prompts, with_fused_head
from alignkit.models.sharing import packed_rows, say_why_not

IGNORED = -100  # label of a token that is not scored


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model says about the tokens of answers. Column t speaks of token t + 1: a first token has no prediction.

    Tensors are (N, T - 1) and zero where no answer is.
    """

    logps: Tensor  # nats, log-probability of the token given all before it
    mask: Tensor  # bool, the token belongs to an answer
    entropy: Tensor | None  # nats, of the distribution the token was drawn from
    mean_logits: Tensor | None  # mean of the logits over the vocabulary
    is_top1: Tensor | None  # bool, the token is the likeliest one
    aux_loss: Tensor | None  # scalar, load balance of a mixture of experts; None if not asked for


def answer_logps(
    model: nn.Module,
    batch: Mapping[str, Any],
    *,
    aux_loss: bool = False,
    shared_prefix: bool = False,
    fields: tuple[str, ...] | None = None,
) -> Answers:
    """Score the answers in `batch` by `model`, which may be wrapped by peft, DDP, DeepSpeed or FSDP.

    Args:
        model: a causal language model; one that TRL's trainers prepared returns the fields they asked for.
        batch: `input_ids` (N, T), and either `completion_mask` (N, T), 1 at answer tokens, or `labels` (N, T), -100
            elsewhere, as packed batches have it; everything else (`attention_mask`, `position_ids`, `pixel_values`)
            is handed to the model, so take out columns it does not know: it would ignore them in silence.
        aux_loss: also compute the auxiliary loss of the model, which is a mixture of experts.
        shared_prefix: compute what rows have in common once, nothing for padding, and the head on answers only; where
            that would not be exact the log says why, and the rows run as they are. Otherwise TRL's forward runs, to the
            bit what its trainers compute.
        fields: which of `entropy`, `mean_logits` and `is_top1` to compute, without gradient; unset: those that TRL's
            trainer asked this model for. TRL's forward always computes the latter.

    Raises:
        ValueError: neither `completion_mask` nor `labels`, or both.
    """
    inputs = {name: value for name, value in batch.items() if name not in ("completion_mask", "labels")}
    labels = _labels(batch)
    virtual = shared_prefix and learns_prompts(model)
    if virtual:
        say_why_not("its adapter puts virtual tokens before each of them")
    if virtual or not shared_prefix:
        return _as_trl(model, inputs, labels, aux_loss)
    return _on_answers(model, inputs, labels, fields, aux_loss)


def _on_answers(
    model: nn.Module, inputs: dict[str, Any], labels: Tensor, fields: tuple[str, ...] | None, aux_loss: bool
) -> Answers:
    """The head on the positions before an answer's token; the rows packed into one sequence, or as they are."""
    core, mask = core_of(model), labels[:, 1:] != IGNORED
    asked = pad(mask, (0, 1))
    packed = packed_rows(model, inputs, asked, trim=not (aux_loss or routes(core)))
    places = torch.arange(labels.numel(), device=labels.device).view(labels.shape)
    if packed is not None:
        inputs = {"input_ids": packed.input_ids, "position_ids": packed.position_ids}
        places = packed.places
    question = Question(
        core=core,
        places=places[asked],
        targets=labels[:, 1:][mask],
        fields=fields,
        aux_loss=aux_loss,
        packed=packed,
    )
    found = with_answers(model)(**inputs, question=question)
    aux = found.pop("aux_loss", None)
    table = {name: value.new_zeros(mask.shape).masked_scatter(mask, value) for name, value in found.items()}
    return Answers(
        logps=table["logps"],
        mask=mask,
        entropy=table.get("entropy"),
        mean_logits=table.get("mean_logits"),
        is_top1=table.get("is_top1"),
        aux_loss=aux,
    )


def _as_trl(model: nn.Module, inputs: dict[str, Any], labels: Tensor, aux_loss: bool) -> Answers:
    """TRL's fused head, on a CPU on every position."""
    if aux_loss:
        inputs["output_router_logits"] = True
    output = with_fused_head(model)(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
    start = output.log_probs.size(1) - (labels.size(1) - 1)  # prompt learning puts virtual tokens before the real ones
    return Answers(
        logps=output.log_probs[:, start:],
        mask=labels[:, 1:] != IGNORED,
        entropy=_from(start, output.entropy),
        mean_logits=_from(start, output.mean_logits),
        is_top1=_from(start, output.is_top1),
        aux_loss=output.aux_loss,
    )


def _labels(batch: Mapping[str, Any]) -> Tensor:
    if ("completion_mask" in batch) == ("labels" in batch):
        raise ValueError(f"batch has the keys {sorted(batch)}; give it completion_mask or labels, one of them")
    if "labels" in batch:
        return batch["labels"]
    return batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)


def _from(start: int, field: Tensor | None) -> Tensor | None:
    return None if field is None else field[:, start:]

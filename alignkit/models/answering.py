"""The forward of a causal language model that is asked for the log-probs of some tokens.

`model(**inputs, question=Question(...))` goes through the model's own call, so every wrapper (DDP, DeepSpeed, FSDP,
autocast, peft) does its work as in any forward. Inside, the backbone runs as it is, on the rows or on one packed
sequence, and the head on the hidden states that predict an asked token.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from alignkit.models.answer_head import FIELDS, Some
from alignkit.models.fused_head import Head, core_of, head_of, inside, kernel_score, with_fused_head, wrap_inside
from alignkit.models.run_attention import no_mask
from alignkit.models.shared_prefix import Packed


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Which tokens are asked for, and after which of the hidden states (B, L, H) each of them comes."""

    core: Any  # the model itself: a copy of it shares the patched forward
    places: Tensor  # (S,) index into the B * L hidden states
    targets: Tensor  # (S,) token that follows
    fields: tuple[str, ...] | None = None  # of FIELDS; None: those TRL's trainer asks of this model
    aux_loss: bool = False  # also the load balance of a mixture of experts
    packed: Packed | None = None  # the rows as one sequence; the hidden states are then (1, L, H)

    def answered(self, **inputs: Any) -> dict[str, Any]:
        """`logps`, the fields and `aux_loss`, as far as asked for; (S,) but for the last."""
        head, config = head_of(self.core), self.core.config.get_text_config()
        aux_loss = self.aux_loss or routes(self.core)
        mask = inputs.get("attention_mask")
        if aux_loss:
            inputs["output_router_logits"] = True
        if self.packed is not None:
            mask = self.packed.rows
            inputs |= {"attention_mask": no_mask(mask.device), "packed": self.packed}
        states = getattr(self.core, head.backbone)(**inputs, use_cache=False)
        hidden = states.last_hidden_state.flatten(0, 1)
        fields = head.fields if self.fields is None else self.fields
        scores = _through_head(self.core.get_output_embeddings(), hidden, self, head, fields)
        named = zip(("logps", *FIELDS), scores, strict=True)
        answer: dict[str, Any] = {name: value for name, value in named if value is not None}
        if aux_loss:
            experts, active = config.num_experts, config.num_experts_per_tok
            answer["aux_loss"] = load_balancing_loss_func(states.router_logits, experts, active, mask)
        return answer


def routes(core: Any) -> bool:
    """Whether the model was told to balance its experts whenever it runs."""
    return getattr(core.config.get_text_config(), "output_router_logits", False)


def with_answers(model: nn.Module) -> nn.Module:
    """The same model, able to answer `model(..., question=question)`.

    Raises:
        ValueError: an adapter on the output head.
    """
    core = core_of(with_fused_head(model))
    if not isinstance(inside(core), _Answering):
        wrap_inside(core, _Answering)
    return model


@dataclass(frozen=True)
class _Answering:
    """The model's own forward, unless there is a question."""

    forward: Callable

    def __call__(self, *args: Any, question: Question | None = None, **inputs: Any) -> Any:
        return self.forward(*args, **inputs) if question is None else question.answered(**inputs)


def _through_head(module: nn.Module, hidden: Tensor, question: Question, head: Head, fields: tuple[str, ...]) -> Some:
    """Score inside the head's own call, so that hooks which gather its weight (ZeRO-3, FSDP) fire."""

    def forward(linear: Any, hidden: Tensor) -> Some:
        weight, bias = linear.weight, getattr(linear, "bias", None)
        if isinstance(weight, DTensor):
            raise ValueError("the output head is sharded apart from its model; shard both in one fully_shard call")
        hidden, targets = hidden.to(weight.device), question.targets.to(weight.device)
        with torch.autocast(hidden.device.type, enabled=False) if head.float32 else nullcontext():
            states = hidden.float() if head.float32 else hidden
            return kernel_score(states, weight, bias, targets, head.logits, fields)

    with _replaced_forward(module, forward):
        return module(hidden[question.places.to(hidden.device)])


@contextmanager
def _replaced_forward(module: nn.Module, forward: Callable) -> Iterator[None]:
    """For now, let the layers of `module` call forward(layer, ...): one layer, or several of which peft chooses."""
    layers = [layer for layer in module.modules() if isinstance(getattr(layer, "weight", None), Tensor)]
    before = [vars(layer).get("forward") for layer in layers]
    try:
        for layer in layers:
            layer.forward = forward.__get__(layer)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own

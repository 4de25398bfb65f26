"""Frozen backbones read every text once: heads are trained on what was kept."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from alignkit.models.fused_head import core_of
from alignkit.models.scoring import in_batches

BATCH_TOKENS = 16384  # read at once


def is_frozen(model: nn.Module) -> bool:
    """Whether nothing but the head of a reward model is trained."""
    return not any(parameter.requires_grad for parameter in backbone_of(model).parameters())


def read_once(model: nn.Module, texts: Sequence[Sequence[int]]) -> None:
    """Read the texts, given as tokens, and let the model answer from what was kept whenever it meets them again.

    What is kept is the state of the last token, at which a reward is read: 4 bytes for each hidden unit. The batches
    depend on the texts alone, so heads that are trained one by one or together see the same numbers to the last bit.
    Other texts are read as before. The model must be frozen but for its head.
    """
    backbone = backbone_of(model)
    kept = backbone.forward if isinstance(backbone.forward, LastStates) else LastStates(backbone.forward)
    backbone.forward = kept
    kept.read(model, [text for text in texts if _key(text) not in kept.rows], next(backbone.parameters()).device)


def backbone_of(model: nn.Module) -> nn.Module:
    """The transformer below the head of a reward model, with or without adapters."""
    base: Any = getattr(model, "get_base_model", lambda: model)()
    return base.base_model if isinstance(base, PreTrainedModel) else base


def read_at(model: nn.Module, input_ids: Tensor, mask: Tensor) -> Tensor:
    """Where transformers reads the score of each row, (N,): at its last token that has not the number of padding.

    Which is not its end where a tokenizer pads with the token that ends a text.
    """
    padding = core_of(model).config.get_text_config().pad_token_id
    real = mask.bool() if padding is None else mask.bool() & (input_ids != padding)
    return (real * torch.arange(input_ids.size(1), device=input_ids.device)).argmax(dim=1)


class LastStates:
    """Takes the place of a backbone's `forward`: the state of each row's last token, at every position of the row."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.forward = forward
        self.rows: dict[bytes, int] = {}  # tokens of a text: its row in `states`
        self.states = torch.zeros(0)  # (texts, H), on the CPU

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **options: Any) -> Any:
        keys = [_key(ids[mask.bool()].tolist()) for ids, mask in zip(input_ids, attention_mask, strict=True)]
        if any(key not in self.rows for key in keys):
            return self.forward(input_ids, attention_mask=attention_mask, **options)
        states = self.states[[self.rows[key] for key in keys]].to(input_ids.device)
        return BaseModelOutputWithPast(last_hidden_state=states[:, None].expand(-1, input_ids.shape[1], -1))

    @torch.no_grad()
    def read(self, model: nn.Module, texts: Sequence[Sequence[int]], device: torch.device) -> None:
        texts = [*{_key(text): text for text in texts}.values()]
        found: dict[int, Tensor] = {}
        for numbers in in_batches(model, texts, BATCH_TOKENS):
            lengths = torch.tensor([len(texts[number]) for number in numbers])
            ids = nn.utils.rnn.pad_sequence([torch.tensor(texts[number]) for number in numbers], batch_first=True)
            mask = torch.arange(ids.shape[1]) < lengths[:, None]
            states = self.forward(ids.to(device), attention_mask=mask.long().to(device), use_cache=False)[0]
            last = states[torch.arange(len(numbers)), read_at(model, ids, mask)].cpu()
            found |= dict(zip(numbers, last, strict=True))
        start = len(self.rows)
        self.rows |= {_key(text): start + number for number, text in enumerate(texts)}
        if texts:
            new = torch.stack([found[number] for number in range(len(texts))])
            self.states = torch.cat([self.states.to(new).reshape(-1, new.shape[1]), new])


def _key(text: Sequence[int]) -> bytes:
    return torch.tensor(text, dtype=torch.int32).numpy().tobytes()

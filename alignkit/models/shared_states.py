"""Reward models that read what texts have in common once: a prompt with all of its answers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from alignkit.models.fused_head import core_of
from alignkit.models.read_once import LastStates, backbone_of, read_at
from alignkit.models.run_attention import no_mask
from alignkit.models.sharing import packed_rows


def share_prompts(model: nn.Module) -> None:
    """Let a sequence classifier read its rows as one sequence without padding, exactly, in training and in scoring.

    Where that would not be exact the log says why, and the rows run as they are.
    """
    backbone: Any = backbone_of(model)
    if not isinstance(backbone.forward, SharedStates | LastStates):
        backbone.forward = SharedStates(core_of(model), backbone.forward)


class SharedStates:
    """Takes the place of a backbone's `forward`: the state of each row's last token, at every position of the row."""

    def __init__(self, core: nn.Module, forward: Callable[..., Any]) -> None:
        self.core = core
        self.forward = forward

    def __call__(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Any:
        given = {name: value for name, value in options.items() if isinstance(value, Tensor)}
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        last = read_at(self.core, input_ids, mask)
        columns = torch.arange(input_ids.size(1), device=input_ids.device)
        rows = {"input_ids": input_ids, "attention_mask": mask, **given}
        packed = packed_rows(self.core, rows, columns == last[:, None], trim=True)
        if packed is None:
            return self.forward(input_ids, attention_mask=attention_mask, **options)
        places = packed.places.gather(1, last[:, None])[:, 0]
        options |= {"position_ids": packed.position_ids, "use_cache": False, "packed": packed}
        states = self.forward(packed.input_ids, attention_mask=no_mask(input_ids.device), **options)[0][0, places]
        return BaseModelOutputWithPast(last_hidden_state=states[:, None].expand(-1, input_ids.size(1), -1))

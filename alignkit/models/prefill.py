"""Answers to one prompt are generated after one reading of it.

transformers reads the prompt of every row that it continues. Here rows with the same prompt are read as one, all but
the last token, and its keys and values copied to each of them; then `generate` goes on as ever, from the last token.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig

from alignkit.models.fused_head import core_of, learns_prompts
from alignkit.models.shared_prefix import SHORTEST
from alignkit.models.sharing import FAMILIES, noise_of, rope_length

ORDINARY = {"num_beams": 1, "num_return_sequences": 1, "use_cache": True}  # of a generation; also where they are unset
Agreed = Callable[[bool], bool]
UNSET = ("cache_implementation", "prefill_chunk_size", "prompt_lookup_num_tokens")


@torch.no_grad()
def read_prompts(
    model: Any, input_ids: Tensor, attention_mask: Tensor, config: GenerationConfig, agreed: Agreed = bool
) -> dict[str, Any]:
    """What `model.generate` is to be given beside prompts (N, L), padded on the left: their cache, or nothing.

    Nothing where no prompt is there twice, or where reading it once would not be the same: see `sharing.py`.
    """
    core = core_of(model)
    ordinary = all(getattr(config, name, None) in (None, value) for name, value in ORDINARY.items())
    ordinary &= all(getattr(config, name, None) is None for name in UNSET)
    if not ordinary or core.config.model_type not in FAMILIES or learns_prompts(model) or noise_of(core):
        return {}
    if input_ids.size(1) > rope_length(core.config):
        return {}
    rows, which = torch.unique(torch.stack((input_ids, attention_mask), dim=1), dim=0, return_inverse=True)
    if not agreed(len(rows) < len(input_ids) and input_ids.size(1) > SHORTEST):
        return {}
    ids, mask = rows[:, :, :-1].unbind(1)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=core.config.get_text_config())
    model(input_ids=ids, attention_mask=mask, position_ids=positions, cache=cache, use_cache=True, logits_to_keep=1)
    cache.batch_select_indices(which)
    return {"cache": cache}


@contextmanager
def prompts_read_once(model: Any, agreed: Agreed = bool) -> Iterator[None]:
    """For now, let `model.generate` read each prompt once. It is called as TRL does, by keyword.

    `agreed` says whether all processes would, given whether this one would. Where weights are sharded they read
    together, and one that read once more than the others would wait for them.
    """
    plain = model.generate

    def generate(
        *, input_ids: Tensor, attention_mask: Tensor, generation_config: GenerationConfig, **others: Any
    ) -> Any:
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        if not others:  # no pictures
            others = read_prompts(model, **given, config=generation_config, agreed=agreed)
        return plain(**given, generation_config=generation_config, **others)

    model.generate = generate
    try:
        yield
    finally:
        del model.generate

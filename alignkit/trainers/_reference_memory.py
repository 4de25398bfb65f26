"""A reference model that is asked for every text once, in this run and all others."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import trl
from accelerate.utils import gather_object
from torch import Tensor

from alignkit.models.cache import cache_folder
from alignkit.models.forward import IGNORED
from alignkit.models.fused_head import core_of
from alignkit.models.reference_cache import LogpCache, fingerprint_of, keys_of
from alignkit.models.sharing import rope_length
from alignkit.trainers._together import on_any_rank

KNOWN = {"attention_mask", "use_cache", "fused_lm_head"}  # what a key holds or what changes no number
Answering = Callable[..., Any]  # `model(..., labels=labels, fused_lm_head=True).log_probs`, as TRL asks it


class Memory:
    """What the reference of a trainer said. It is looked at when it is first asked, before any training."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.cache: LogpCache | None = None

    def __call__(self, model: Any, answering: Answering) -> "Remembering":
        """`answering`, which asks `model`, unless it was asked before. ValueError for a reference that moves."""
        if getattr(self.trainer.args, "sync_ref_model", False):
            raise ValueError("sync_ref_model moves the reference, of which nothing may be kept; remove reference_cache")
        longest = getattr(self.trainer.args, "max_length", None) or math.inf
        if longest > (length := rope_length(core_of(model).config)):
            raise ValueError(
                f"beyond {length} tokens this model reads a text as the longest one beside it, of which nothing may be "
                f"kept; remove reference_cache, or write train.max_length: {length}"
            )
        if self.cache is None:
            self.cache = LogpCache(cache_folder() / "references" / self._fingerprint(model))
        # a sharded reference answers on all ranks together or on none
        return Remembering(answering, self.cache, partial(on_any_rank, self.trainer.accelerator))

    def _fingerprint(self, model: Any) -> str:
        """One for all ranks. Where weights are sharded each has its own part of them."""
        forward = "each shared token once" if self.trainer.shared_prefix else "TRL's"
        precision = f"{self.trainer.accelerator.mixed_precision}, tf32 {self.trainer.args.tf32}"
        facts = {"precision": precision, "forward": forward, "trl": trl.__version__}  # TRL's kernel, on GPUs
        own = fingerprint_of(model, facts)
        parts = list(dict.fromkeys(gather_object([own])))
        return own if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Remembering:
    """Answers as the reference does, with the log-prob of a whole row in one column: TRL sums over the columns."""

    answering: Answering
    cache: LogpCache
    on_any_rank: Callable[[bool], bool]

    def __call__(self, *, input_ids: Tensor, labels: Tensor, **others: Any) -> Any:
        inputs = {"input_ids": input_ids, "labels": labels, **others}
        if set(others) - KNOWN:  # pictures
            return self.answering(**inputs)
        mask = others.get("attention_mask", torch.ones_like(input_ids))
        keys = keys_of(input_ids, mask, labels != IGNORED)
        found = self.cache.find(keys)
        if self.on_any_rank(found is None):
            columns = input_ids.size(1) - 1  # learned prompts put others before them
            rows = self.answering(**inputs).log_probs[:, -columns:].sum(dim=1)
            found = self.cache.settle(keys, rows.tolist(), lambda new: gather_object([new]))
        return SimpleNamespace(log_probs=torch.tensor(found, device=input_ids.device)[:, None])

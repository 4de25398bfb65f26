"""Attention over the runs of a packed batch: each token attends to what its row has before it, and to nothing else.

transformers calls one function for attention in every layer: the registered one of the kernel, or the eager one of the
model's own file. `attend_to_runs` wraps that function, once per process. Called as ever it does what it did; called
with `packed`, which `model(..., packed=packed)` hands down through every layer, it is given

    sdpa, eager        one block of queries after another, with the keys of its row and a mask only where needed
    flash_attention_*  keys in the order of the rows, each run's with what is before it: the kernel's own ragged form
    flex_attention     one mask that it compiles

so soft-capping, scaling, sinks and dropout are the kernel's own, and no kernel computes more than a block too much.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from alignkit.models.fused_head import class_of
from alignkit.models.shared_prefix import Packed, Path, Run

QUERIES = 256  # of a block that needs a mask; half a block of scores is computed in vain

Attention = Callable[..., tuple[Tensor, Tensor | None]]
Heads = tuple[Tensor, Tensor, Tensor]  # queries, keys and values, (1, heads, L, width)


def attend_to_runs(core: nn.Module) -> None:
    """Let the attention function of this model understand `packed`."""
    kernel, module = kernel_of(core), cast(Any, sys.modules[class_of(core).__module__])
    if kernel == "eager":
        if not hasattr(module.eager_attention_forward, "over"):
            module.eager_attention_forward = _over_runs(module.eager_attention_forward, _eager)
    elif not hasattr(module.ALL_ATTENTION_FUNCTIONS[kernel], "over"):
        over = {"sdpa": _sdpa, "flex_attention": _flex}.get(kernel, _flash)
        module.ALL_ATTENTION_FUNCTIONS[kernel] = _over_runs(module.ALL_ATTENTION_FUNCTIONS[kernel], over)


def kernel_of(core: Any) -> str:
    return core.config._attn_implementation


def no_mask(device: torch.device) -> Tensor:
    """What to give a model as its mask beside `packed`: taken as it is, and an error wherever it is really used."""
    return torch.zeros(1, 1, 0, 0, device=device)


def _over_runs(attention: Attention, over: Callable) -> Attention:
    @wraps(attention)
    def wrapped(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        *,
        packed: Packed | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if packed is None:
            return attention(module, query, key, value, attention_mask, **options)
        return over(attention, module, (query, key, value), packed, **options)

    wrapped.over = over  # type: ignore[attr-defined]  # a function may have attributes
    return wrapped


def _sdpa(attention: Attention, module: nn.Module, heads: Heads, packed: Packed, **options: Any) -> Any:
    return _by_blocks(attention, module, heads, packed, causal=True, **options)


def _eager(attention: Attention, module: nn.Module, heads: Heads, packed: Packed, **options: Any) -> Any:
    return _by_blocks(attention, module, heads, packed, causal=False, **options)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Queries of one run, and the keys they attend to."""

    run: int
    begin: int
    end: int
    keys: tuple[tuple[int, int, int], ...]  # run, begin, end
    masked: bool  # otherwise causal, and computed with the queries of what is before, for nothing

    @property
    def scores(self) -> int:
        """Pairs of a query and a key that are computed."""
        queries, keys = self.end - self.begin, sum(end - begin for _, begin, end in self.keys)
        return queries * keys if self.masked else keys * (keys + 1) // 2


def _by_blocks(
    attention: Attention, module: nn.Module, heads: Heads, packed: Packed, causal: bool, **options: Any
) -> tuple[Tensor, None]:
    """`causal`: without a mask the kernel is causal, and skips what lies above the diagonal."""
    window = options.get("sliding_window")
    lengths = [run.length for run in packed.runs]
    queries, keys, values = (states.split(lengths, dim=2) for states in heads)  # joined again in one piece of gradient
    outputs = []
    for block in blocks_of(packed, window, causal):
        own = ((block.run, block.begin, block.end),)
        query = _gather(queries, own if block.masked else block.keys)
        key, value = _gather(keys, block.keys), _gather(values, block.keys)
        mask = _mask(packed, query, key.size(2), window) if block.masked else None
        output = attention(module, query, key, value, mask, **options)[0]
        outputs.append(output.narrow(1, output.size(1) - (block.end - block.begin), block.end - block.begin))
    return torch.cat(outputs, dim=1), None


def blocks_of(packed: Packed, window: int | None, causal: bool) -> list[Block]:
    """What kernels without a ragged form compute, one after another."""
    name = ("blocks", window, causal)
    if name not in packed.made:
        packed.made[name] = [
            block for i in range(len(packed.runs)) for block in _blocks(packed.runs, i, window, causal)
        ]
    return packed.made[name]


def _blocks(runs: tuple[Run, ...], number: int, window: int | None, causal: bool) -> list[Block]:
    """Of two ways through a run the one with fewer scores."""
    run = runs[number]
    masked = list(_masked_blocks(run, number, window))
    if causal and (window is None or run.start + run.length <= window):
        keys = tuple(_from((*run.before, (number, run.length)), 0))
        whole = Block(run=number, begin=0, end=run.length, keys=keys, masked=False)
        if whole.scores <= sum(block.scores for block in masked):  # an answer much longer than its prompt
            return [whole]
    return masked


def _masked_blocks(run: Run, number: int, window: int | None) -> Iterator[Block]:
    for begin in range(0, run.length, QUERIES):
        end = min(begin + QUERIES, run.length)
        oldest = 0 if window is None else max(run.start + begin - window + 1, 0)
        keys = tuple(_from((*run.before, (number, end)), oldest))
        yield Block(run=number, begin=begin, end=end, keys=keys, masked=True)


def _from(path: Path, oldest: int) -> Iterator[tuple[int, int, int]]:
    """A path without its first tokens."""
    for run, length in path:
        if oldest < length:
            yield run, max(oldest, 0), length
        oldest -= length


def _gather(states: tuple[Tensor, ...], pieces: tuple[tuple[int, int, int], ...]) -> Tensor:
    found = [_part(states[run], begin, end) for run, begin, end in pieces]
    return found[0] if len(found) == 1 else torch.cat(found, dim=2)


def _part(states: Tensor, begin: int, end: int) -> Tensor:
    """A slice, unless it is all: its gradient would be a copy of zeros and more."""
    return states if end - begin == states.size(2) else states[:, :, begin:end]


def _mask(packed: Packed, query: Tensor, keys: int, window: int | None) -> Tensor:
    """(1, 1, queries, keys), to be added to scores: the last query attends to the last key.

    Masks of all sizes are the lower right corners of one.
    """
    name = ("mask", window, query.dtype)
    if name not in packed.made:
        most = max(run.start + run.length for run in packed.runs)
        most = most if window is None else min(most, window + QUERIES)
        ahead = torch.arange(most) - torch.arange(most - QUERIES, most)[:, None]  # of a query
        hidden = ahead > 0 if window is None else (ahead > 0) | (ahead <= -window)
        packed.made[name] = torch.zeros(QUERIES, most).masked_fill(hidden, -torch.inf).to(query)[None, None]
    whole = packed.made[name]
    return whole[:, :, QUERIES - query.size(2) :, whole.size(3) - keys :].contiguous()


def _flash(attention: Attention, module: nn.Module, heads: Heads, packed: Packed, **options: Any) -> Any:
    """FlashAttention aligns the last query of a run with its last key, as its ragged form always does (2.1 on)."""
    query, key, value = heads
    if "ragged" not in packed.made:
        packed.made["ragged"] = _ragged(packed, query.device)
    order, ragged = packed.made["ragged"]
    key, value = key.index_select(2, order), value.index_select(2, order)
    return attention(module, query, key, value, None, **ragged, **options)


def _ragged(packed: Packed, device: torch.device) -> tuple[Tensor, dict[str, Any]]:
    """Which keys each run attends to, run after run, and where the queries and the keys of each begin and end."""
    starts = [0]
    for run in packed.runs:
        starts.append(starts[-1] + run.length)
    paths = [(*run.before, (number, run.length)) for number, run in enumerate(packed.runs)]
    order = [torch.arange(starts[run], starts[run] + length) for path in paths for run, length in path]
    keys = torch.tensor([0, *(run.start + run.length for run in packed.runs)])
    return torch.cat(order).to(device), {
        "cu_seq_lens_q": torch.tensor(starts, dtype=torch.int32, device=device),
        "cu_seq_lens_k": keys.cumsum(0).to(device, torch.int32),
        "max_length_q": max(run.length for run in packed.runs),
        "max_length_k": int(keys.max()),
    }


def _flex(attention: Attention, module: nn.Module, heads: Heads, packed: Packed, **options: Any) -> Any:
    window = options.get("sliding_window")
    if ("flex", window) not in packed.made:
        packed.made["flex", window] = _block_mask(packed, window)
    return attention(module, *heads, packed.made["flex", window], **options)


def _block_mask(packed: Packed, window: int | None) -> BlockMask:
    runs, device = packed.runs, packed.input_ids.device
    seen = torch.zeros(len(runs), len(runs), dtype=torch.int64)  # by a run of another: how many of its first tokens
    for number, run in enumerate(runs):
        for other, tokens in (*run.before, (number, run.length)):
            seen[number, other] = tokens
    seen, position = seen.to(device), packed.position_ids[0]
    lengths = torch.tensor([run.length for run in runs])
    run_of = torch.arange(len(runs)).repeat_interleave(lengths).to(device)
    offset = torch.cat([torch.arange(run.length) for run in runs]).to(device)

    def allowed(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        distance = position[query] - position[key]
        visible = (offset[key] < seen[run_of[query], run_of[key]]) & (distance >= 0)
        return visible if window is None else visible & (distance < window)

    size = len(position)
    return create_block_mask(allowed, None, None, size, size, device=device, _compile=device.type == "cuda")

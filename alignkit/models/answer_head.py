"""The output head on the tokens of answers only: their log-probs, without the (tokens, vocabulary) logits.

Logits are built in tiles of fixed size, by ordinary matrix products, and folded into a running logsumexp: memory does
not grow with the vocabulary. The gradient of a log-prob with respect to a hidden state is known up to a factor,

    d logp / d h = z'(y) w_y - sum_v p_v z'(v) w_v        (z' = 1 without soft-capping and scaling),

so a frozen head (LoRA) is finished in the forward pass; a trained one rebuilds its tiles in the backward pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TOKENS = 1024  # rows of a tile
TILE = 2**23  # logits in a tile: 32 MB in float32; smaller ones make slow matrix products
FIELDS = ("entropy", "mean_logits", "is_top1")

Some = tuple[Tensor | None, ...]


@dataclass(frozen=True, kw_only=True)
class Logits:
    """How a model's logits follow from the head's products x = W h + b: softcap * tanh(scale * x / softcap) / T."""

    scale: float = 1.0
    softcap: float | None = None
    temperature: float = 1.0

    def of(self, products: Tensor) -> Tensor:
        """Logits in float32; may overwrite `products`."""
        logits = products.float()
        if self.softcap is None:
            factor = self.scale / self.temperature
            return logits if factor == 1 else logits.mul_(factor)
        return logits.mul_(self.scale / self.softcap).tanh_().mul_(self.softcap / self.temperature)

    def slope(self, logits: Tensor) -> Tensor | float:
        """d logits / d products, as a function of the logits."""
        factor = self.scale / self.temperature
        if self.softcap is None:
            return factor
        return (1 - (logits * (self.temperature / self.softcap)).square_()).mul_(factor)


def score(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, logits: Logits, fields: tuple[str, ...] = ()
) -> Some:
    """Log-probs of `targets` (S,) given `hidden` (S, H) and the head's `weight` (V, H) and `bias` (V,), in float32.

    The products are made in the precision of autocast or of `hidden`, everything after them in float32. `fields` names
    what else is wanted of FIELDS; these come after the log-probs, without gradient, None if not named.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    return _Score.apply(hidden, weight, bias, targets, logits, fields, dtype)


class _Score(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        logits: Logits,
        fields: tuple[str, ...],
        dtype: torch.dtype,
    ) -> Some:
        trained = any(ctx.needs_input_grad[1:3])
        frozen = ctx.needs_input_grad[0] and not trained
        parts = []
        for rows in _chunks(len(hidden), TOKENS):
            sums = _Sums(hidden[rows].to(dtype), targets[rows], fields, gradient=frozen)
            for columns, tile, products in _tiles(hidden[rows].to(dtype), weight, bias):
                sums.fold(columns, tile, logits.of(products), logits)
            parts.append(sums.finish(weight, logits))
        log_z, slope, *scores = (_join(part) for part in zip(*parts, strict=True))
        saved = (hidden, weight, bias, targets, log_z) if trained else (slope,)
        ctx.save_for_backward(*saved)
        ctx.trained, ctx.logits, ctx.dtypes = trained, logits, (dtype, hidden.dtype)
        ctx.mark_non_differentiable(*(field for field in scores[1:] if field is not None))
        ctx.set_materialize_grads(False)
        return tuple(scores)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: Any) -> Some:
        if gradient is None:
            return (None,) * 7
        if not ctx.trained:
            (slope,) = ctx.saved_tensors
            return (gradient[:, None] * slope).to(ctx.dtypes[1]), *(None,) * 6
        return *_gradients(ctx, gradient.float()), *(None,) * 4


class _Sums:
    """Running sums over the vocabulary for n tokens: what remains of tiles that are gone."""

    def __init__(self, hidden: Tensor, targets: Tensor, fields: tuple[str, ...], gradient: bool) -> None:
        zeros = torch.zeros(len(hidden), device=hidden.device)
        self.targets, self.fields, self.dtype = targets, fields, hidden.dtype
        self.top = zeros - torch.inf  # largest logit
        self.total = zeros  # of exp(logit - top)
        self.own = zeros  # logit of the target
        self.energy = zeros  # of exp(logit - top) * logit
        self.plain = zeros  # of logits
        self.best = torch.zeros_like(targets)  # the likeliest token
        self.expected = torch.zeros(hidden.shape, device=hidden.device) if gradient else None  # of exp() * z' * w

    def fold(self, columns: slice, weight: Tensor, logits: Tensor, form: Logits) -> None:
        """Add a tile: `logits` (n, v) of the tokens in `columns`, whose rows of the head are `weight` (v, H)."""
        inside, local = _find(self.targets, columns)
        self.own = torch.where(inside, logits.gather(1, local[:, None]).squeeze(1), self.own)
        if "mean_logits" in self.fields:
            self.plain = self.plain + logits.sum(-1)
        if "is_top1" in self.fields:
            top, at = logits.max(-1)
            self.best = torch.where(top > self.top, at + columns.start, self.best)
        else:
            top = logits.amax(-1)
        before, self.top = self.top, torch.maximum(self.top, top)
        shrink = (before - self.top).exp()
        slope = 1.0 if self.expected is None else form.slope(logits)
        energies = logits.clone() if "entropy" in self.fields else None
        powers = logits.sub_(self.top[:, None]).exp_()
        self.total = self.total * shrink + powers.sum(-1)
        if energies is not None:
            self.energy = self.energy * shrink + torch.linalg.vecdot(powers, energies)
        if self.expected is not None:
            _add_product(self.expected.mul_(shrink[:, None]), (powers * slope).to(self.dtype), weight)

    def finish(self, weight: Tensor, form: Logits) -> Some:
        """log Z, d logp / d h, log-probs, then FIELDS."""
        log_z = self.top + self.total.log()
        slope = None
        if self.expected is not None:
            own = weight[self.targets].float() * torch.as_tensor(form.slope(self.own)).reshape(-1, 1)
            slope = own.sub_(self.expected.div_(self.total[:, None]))
        found = {
            "entropy": log_z - self.energy / self.total,
            "mean_logits": self.plain / len(weight),
            "is_top1": self.best == self.targets,
        }
        return log_z, slope, self.own - log_z, *(found[name] if name in self.fields else None for name in FIELDS)


def _gradients(ctx: Any, gradient: Tensor) -> Some:
    """Gradients of a trained head, its tiles built once more; summed in float32."""
    hidden, weight, bias, targets, log_z = ctx.saved_tensors
    dtype, _ = ctx.dtypes
    wanted = zip((hidden, weight, bias), ctx.needs_input_grad, strict=False)
    sums = [torch.zeros(x.shape, device=x.device) if need else None for x, need in wanted]
    to_hidden, to_weight, to_bias = sums
    for rows in _chunks(len(hidden), TOKENS):
        states, factor = hidden[rows].to(dtype), gradient[rows, None]
        for columns, tile, products in _tiles(states, weight, bias):
            logits = ctx.logits.of(products)
            slope = ctx.logits.slope(logits)
            inside, local = _find(targets[rows], columns)
            error = logits.sub_(log_z[rows, None]).exp_().mul_(-factor)
            error.scatter_add_(1, local[:, None], factor * inside[:, None]).mul_(slope)
            if to_bias is not None:
                to_bias[columns] += error.sum(0)
            error = error.to(dtype)
            if to_hidden is not None:
                _add_product(to_hidden[rows], error, tile)
            if to_weight is not None:
                _add_product(to_weight[columns], error.t(), states)
    return tuple(None if s is None else s.to(x.dtype) for s, x in zip(sums, (hidden, weight, bias), strict=True))


def _chunks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, max(length, 1), size):
        yield slice(start, min(start + size, length))


def _tiles(states: Tensor, weight: Tensor, bias: Tensor | None) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Pieces of the vocabulary: where they are, their rows of the head (v, H) and the products W h + b (n, v)."""
    for columns in _chunks(len(weight), max(TILE // max(len(states), 1), 1)):
        tile = weight[columns].to(states.dtype)
        products = states @ tile.t()
        yield columns, tile, products if bias is None else products.add_(bias[columns])


def _find(targets: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Which targets lie in these columns, and where there; 0 for the others."""
    inside = (targets >= columns.start) & (targets < columns.stop)
    return inside, torch.where(inside, targets - columns.start, 0)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, the sum in float32."""
    if left.dtype is total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _join(parts: Some) -> Tensor | None:
    found = [part for part in parts if part is not None]
    return torch.cat(found) if found else None

"""NaPO: noise-aware preference optimisation by the generalised cross entropy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.objectives._base import Loss, PairObjective
from alignkit.objectives._batches import PairLogps
from alignkit.objectives._ops import finite, one_of, pair_loss, positive

Margin = Literal["sum", "token"]


@dataclass(frozen=True, kw_only=True)
class NaPO(PairObjective):
    """(1 - sigmoid(beta h)^q) / q, h = log pi(w)/ref(w) - log pi(l)/ref(l)

    q to 0 is DPO, q = 1 is 1 - sigmoid(beta h): the larger q, the less a pair that looks mislabelled pulls.
    "dynamic": q = 2 (1 - sigmoid(alpha M)) clamped to [0.001, 1], where M, without gradient, is the mean over the
    batch of the margin h ("sum") or of the difference of per-token mean log-ratios ("token"). At the reference q = 1.
    Optimum at fixed q < 1: pi proportional to ref * exp(r / (beta (1 - q))), so q also sharpens; none at q = 1.
    Source: Zhang et al. 2025, arXiv:2503.17928, which combines three such terms for images; this is one of them.
    """

    beta: float = 0.1  # reward per nat of log-ratio, > 0
    q: float | Literal["dynamic"] = "dynamic"  # robustness, in (0, 1], or set by the batch's mean margin
    alpha: float | None = None  # dynamic q only: how fast a growing margin lowers q; unset 0.5, official 0.01 for sums
    margin: Margin | None = None  # dynamic q only: the margin whose mean is M; unset "token"

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        if self.q == "dynamic":
            alpha, margin = 0.5 if self.alpha is None else self.alpha, self.margin or "token"
            one_of(Margin, margin=margin)
            finite(alpha=alpha)
            # filled in here, so that a saved recipe says what was used
            object.__setattr__(self, "alpha", alpha)
            object.__setattr__(self, "margin", margin)
        elif not 0 < self.q <= 1:
            raise ValueError(f"q = {self.q} must lie in (0, 1] or be 'dynamic'; for q = 0 write dpo")
        elif self.alpha is not None or self.margin is not None:
            raise ValueError(f"alpha and margin set a dynamic q; with q = {self.q} remove them")

    def statistics(self, batch: PairLogps) -> Mapping[str, tuple[Tensor, Tensor]]:
        if self.q != "dynamic":
            return {}
        chosen, rejected = batch.log_ratios()
        if self.margin == "token":
            chosen_length, rejected_length = batch.lengths()
            chosen, rejected = chosen / chosen_length, rejected / rejected_length
        return {"margin": ((chosen - rejected).detach().sum(), torch.tensor(len(chosen), device=chosen.device))}

    def __call__(self, batch: PairLogps) -> Loss:
        chosen, rejected = batch.log_ratios()
        q = self._q(batch)
        # -expm1(q log sigmoid) / q keeps its gradient finite where sigmoid(beta h)^q underflows and gives NaN
        terms = -torch.expm1(q * F.logsigmoid(self.beta * (chosen - rejected))) / q
        return pair_loss(terms, self.beta * chosen, self.beta * rejected)

    def _q(self, batch: PairLogps) -> Tensor | float:
        if self.q != "dynamic":
            return self.q
        assert self.alpha is not None
        return (2 * torch.sigmoid(-self.alpha * self._mean("margin", batch))).clamp(0.001, 1)

"""PoFT: supervised fine-tuning that asks the model to like a text more than aligned models do."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from alignkit.objectives._base import Loss, TokenObjective
from alignkit.objectives._batches import TokenLogps
from alignkit.objectives._ops import finite, positive, trained_logps


@dataclass(frozen=True, kw_only=True)
class PoFT(TokenObjective):
    """-log sigmoid(beta * (a - r) + gamma), averaged over examples

    a is the mean log-probability per trained token, r the same under aligned models (column `aligned_logps`, constant).
    Gradient: that of supervised fine-tuning, each example weighted by sigmoid(-(beta (a - r) + gamma)): texts that
    aligned models like better than this one weigh more.
    Optimum for one-token texts, data p, rho = exp(r), beta = 1, gamma = 0:
    pi = (-rho + sqrt(rho^2 + 4 p rho / lambda)) / 2 with lambda such that pi sums to 1. Large rho gives p.
    Source: Fan et al. 2024, arXiv:2412.12865. Terms are (B,), not (B, T).
    Differs from the authors' code: a averages over the mask given; theirs, over every token, prompt and template too.
    """

    beta: float = 1.0  # slope per nat per token, > 0
    gamma: float = 0.0  # offset of the comparison, nats per token times beta

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        finite(gamma=self.gamma)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("aligned_logps",)

    def __call__(self, batch: TokenLogps) -> Loss:
        mean = trained_logps(batch).sum(dim=1) / batch.mask.bool().sum(dim=1).clamp(min=1)
        gap = mean - batch.column("aligned_logps", like=mean)
        terms = -F.logsigmoid(self.beta * gap + self.gamma)
        return Loss(terms, torch.tensor(len(terms), device=terms.device), {"aligned_gap": gap.detach()})

"""Plackett-Luce: reward models from rankings of any length."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.objectives._base import Loss, RewardObjective
from alignkit.objectives._batches import RewardScores
from alignkit.objectives._ops import one_of, pairwise, ranking_loss

Form = Literal["full", "pairwise"]


@dataclass(frozen=True, kw_only=True)
class PlackettLuce(RewardObjective):
    """-sum_k log [exp(r_k) / sum_{j >= k} exp(r_j)], answers ranked best first

    "full" is the likelihood of the ranking, drawn best first without replacement. "pairwise" sums -log sigmoid
    (r_i - r_j) over the K (K - 1) / 2 pairs i before j: consistent too, and asymptotically less efficient. Of two
    answers both are Bradley-Terry. A ranking's term is a sum, so longer rankings weigh more.
    Optimum: rewards of the Plackett-Luce model that the rankings come from, up to a constant of the prompt.
    Source: Zhu, Jiao and Jordan 2023, arXiv:2301.11270, estimators MLE_K ("full") and MLE_2 ("pairwise").
    """

    pairs_only = False

    form: Form = "full"  # the ranking as a whole, or split into its pairs

    def __post_init__(self) -> None:
        one_of(Form, form=self.form)

    def __call__(self, batch: RewardScores) -> Loss:
        scores, mask = batch.ranked()
        terms = _whole(scores, mask) if self.form == "full" else _split(scores, mask)
        return ranking_loss(terms, batch)


def _whole(scores: Tensor, mask: Tensor) -> Tensor:
    """-log-likelihood of each ranking, (P,)."""
    itself = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
    left = pairwise(mask) | itself  # [p, k, j]: j is still there when the answer at rank k is drawn
    log_sums = scores[:, None, :].expand(left.shape).masked_fill(~left, -torch.inf).logsumexp(dim=2)
    return (log_sums - scores).sum(dim=1)  # where no answer is, both are 0


def _split(scores: Tensor, mask: Tensor) -> Tensor:
    """Sum of logistic losses over the pairs of each ranking, (P,)."""
    losses = -F.logsigmoid(scores[:, :, None] - scores[:, None, :])
    return torch.where(pairwise(mask), losses, 0).sum(dim=(1, 2))

"""MMPO: preferences with a margin taken from quality scores."""

from dataclasses import dataclass

import torch

from alignkit.objectives._base import Loss, PairObjective
from alignkit.objectives._batches import PairLogps
from alignkit.objectives._ops import pair_loss, positive, soft_logistic


@dataclass(frozen=True, kw_only=True)
class MMPO(PairObjective):
    """-p * log sigmoid(beta h) - (1 - p) * log sigmoid(-beta h), p = sigmoid(gamma (s_w - s_l)), h as in DPO

    Optimum: pi proportional to ref * exp(gamma s / beta), finite even where preferences never contradict each other.
    gamma to infinity is DPO; equal scores pull the margin to 0. Scores are taken as they are, so gamma belongs to a
    data set: the official runs use 0.3 to 2.2 on UltraFeedback's scores of 1 to 10.
    Source: Kim et al. 2024, arXiv:2410.03145.
    """

    gamma: float | None = 1.0  # log-odds per unit of score, >= 0; null ignores the scores, which is DPO
    beta: float = 0.01  # reward per nat of log-ratio, > 0

    def __post_init__(self) -> None:
        if self.gamma is not None and not 0 <= self.gamma < float("inf"):
            raise ValueError(f"gamma = {self.gamma} must be a finite number from 0 up; write null for plain DPO")
        positive(beta=self.beta)

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.gamma is None else ("score_chosen", "score_rejected")

    def __call__(self, batch: PairLogps) -> Loss:
        chosen, rejected = batch.log_ratios()
        terms = soft_logistic(self.beta * (chosen - rejected), self._target(batch))
        return pair_loss(terms, self.beta * chosen, self.beta * rejected)

    def _target(self, batch: PairLogps) -> torch.Tensor | float:
        if self.gamma is None:
            return 1.0
        chosen, rejected = (batch.column(name, like=batch.chosen) for name in self.columns)
        return torch.sigmoid(self.gamma * (chosen - rejected))

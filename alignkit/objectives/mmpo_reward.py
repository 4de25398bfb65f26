"""MMPO's reward model: Bradley-Terry with soft labels from quality scores."""

from dataclasses import dataclass

import torch

from alignkit.objectives._base import Loss, RewardObjective
from alignkit.objectives._batches import RewardScores
from alignkit.objectives._ops import ranking_loss, soft_logistic


@dataclass(frozen=True, kw_only=True)
class MMPOReward(RewardObjective):
    """-p * log sigmoid(r_c - r_r) - (1 - p) * log sigmoid(r_r - r_c), p = sigmoid(gamma (s_c - s_r))

    Optimum: r = gamma s up to a constant of the prompt, finite although the better score always wins. gamma to infinity
    is Bradley-Terry; equal scores pull both rewards together. Scores are taken as they are, so gamma belongs to a data
    set: the official runs use 0.3 to 2.2 on UltraFeedback's scores of 1 to 10.
    Source: Kim et al. 2024, arXiv:2410.03145.
    Differs from the authors' code, which broadcasts the rewards, (B, 1), against the labels, (B,): with more than one
    pair in a batch every pair there learns the batch's mean label. Here each pair has its own.
    """

    gamma: float = 1.0  # log-odds per unit of score, >= 0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            raise ValueError(f"gamma = {self.gamma} must be a finite number from 0 up; for hard labels: bradley_terry")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("score_chosen", "score_rejected")

    def __call__(self, batch: RewardScores) -> Loss:
        chosen, rejected = batch.pairs()
        better, worse = (batch.column(name, like=batch.scores) for name in self.columns)
        target = torch.sigmoid(self.gamma * (better - worse))
        return ranking_loss(soft_logistic(chosen - rejected, target), batch)

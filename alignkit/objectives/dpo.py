"""DPO: direct preference optimisation."""

from dataclasses import dataclass

import torch.nn.functional as F

from alignkit.objectives._base import Loss, PairObjective
from alignkit.objectives._batches import PairLogps
from alignkit.objectives._ops import pair_loss, positive


@dataclass(frozen=True, kw_only=True)
class DPO(PairObjective):
    """-log sigmoid(beta * (log pi(w)/ref(w) - log pi(l)/ref(l)))

    Optimum: pi proportional to ref * exp(r / beta) where preferences follow Bradley-Terry with reward r. With
    deterministic preferences there is none: the log-ratio gap grows without bound.
    Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7.
    """

    beta: float = 0.1  # reward per nat of log-ratio, > 0

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    def __call__(self, batch: PairLogps) -> Loss:
        chosen, rejected = batch.log_ratios()
        return pair_loss(-F.logsigmoid(self.beta * (chosen - rejected)), self.beta * chosen, self.beta * rejected)

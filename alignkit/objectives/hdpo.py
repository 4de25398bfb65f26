"""H-DPO: DPO with a weight on the policy's entropy."""

from dataclasses import dataclass

import torch.nn.functional as F

from alignkit.objectives._base import Loss, PairObjective
from alignkit.objectives._batches import PairLogps
from alignkit.objectives._ops import pair_loss, positive


@dataclass(frozen=True, kw_only=True)
class HDPO(PairObjective):
    """-log sigmoid(beta * (alpha * log pi(w)/pi(l) - log ref(w)/ref(l)))

    Optimum: pi proportional to ref^(1/alpha) * exp(r / (alpha * beta)). alpha = 1 is DPO; below sharpens, above
    flattens.
    At the reference the loss is not log 2 unless alpha = 1: pairs of unequal length start with a margin.
    Source: Omura et al. 2024, arXiv:2411.07595; there is no official code.
    """

    alpha: float = 0.9  # weight of the policy's entropy, > 0
    beta: float = 0.1  # reward per nat of log-ratio, > 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha = {self.alpha} must be positive and finite; 1 is plain DPO")
        positive(beta=self.beta)

    def __call__(self, batch: PairLogps) -> Loss:
        ref_chosen, ref_rejected = batch.references()
        chosen = self.beta * (self.alpha * batch.chosen - ref_chosen)  # implicit rewards, (B,)
        rejected = self.beta * (self.alpha * batch.rejected - ref_rejected)
        return pair_loss(-F.logsigmoid(chosen - rejected), chosen, rejected)

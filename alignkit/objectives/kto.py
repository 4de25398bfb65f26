"""KTO: learning from thumbs up and down."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignkit.objectives._base import Loss, UnpairedObjective
from alignkit.objectives._batches import UnpairedLogps
from alignkit.objectives._ops import positive


@dataclass(frozen=True, kw_only=True)
class KTO(UnpairedObjective):
    """desirable:     lambda_D * (1 - sigmoid(beta * (log pi(y)/ref(y) - z)))
    undesirable:   lambda_U * (1 - sigmoid(beta * (z - log pi(y)/ref(y))))

    z = max(0, kl), without gradient. The gradient raises log pi(y) where the share of thumbs up for y exceeds
    lambda_U / (lambda_D + lambda_U), lowers it elsewhere; there is no finite optimum. At the reference the loss is half
    the mean weight. With unequal classes keep lambda_D n_D / (lambda_U n_U) in [1, 4/3].
    Source: Ethayarajh et al. 2024, arXiv:2402.01306, section 4.
    """

    beta: float = 0.1  # reward per nat of log-ratio, > 0
    desirable_weight: float | Literal["balanced"] = 1.0  # lambda_D, > 0; "balanced" equals the classes' total weights
    undesirable_weight: float = 1.0  # lambda_U, > 0

    def __post_init__(self) -> None:
        positive(beta=self.beta, undesirable_weight=self.undesirable_weight)
        if self.desirable_weight != "balanced":
            positive(desirable_weight=self.desirable_weight)

    def __call__(self, batch: UnpairedLogps) -> Loss:
        if self.desirable_weight == "balanced":
            raise ValueError("desirable_weight = 'balanced' is resolved by a recipe, from its data; write a number")
        ratio = batch.policy - batch.ref
        gain = self.beta * (ratio - batch.kl.detach().clamp(min=0))
        desirable = batch.desirable.bool()
        sign = torch.where(desirable, 1, -1)
        up, down = ratio.new_tensor(self.desirable_weight), ratio.new_tensor(self.undesirable_weight)
        # sigmoid(-x) is 1 - sigmoid(x) without the cancellation
        terms = torch.where(desirable, up, down) * torch.sigmoid(-sign * gain)
        metrics = {**_rewards(self.beta * ratio.detach(), desirable), "kl": batch.kl.detach()}
        return Loss(terms, torch.tensor(len(terms), device=terms.device), metrics)


def _rewards(rewards: Tensor, desirable: Tensor) -> dict[str, Tensor]:
    return {"rewards/chosen": rewards[desirable], "rewards/rejected": rewards[~desirable]}

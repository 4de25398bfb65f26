"""Robust DPO: DPO that knows how often labels are flipped."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.objectives._base import Loss, PairObjective
from alignkit.objectives._batches import PairLogps
from alignkit.objectives._ops import one_of, pair_loss, positive, soft_logistic

Form = Literal["conservative", "unbiased"]


@dataclass(frozen=True, kw_only=True)
class RobustDPO(PairObjective):
    """conservative (cDPO)   -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)
    unbiased (rDPO)       [-(1 - e) log sigmoid(beta h) + e log sigmoid(-beta h)] / (1 - 2 e)

    e is the probability that a label is flipped, h as in DPO.
    Optimum: unbiased, that of DPO on clean labels, pi proportional to ref * exp(r / beta); a single label's loss is
    then unbounded below, so stop early. Conservative, beta h = logit((1 - e) P + e (1 - P)) for win rate P: the margin
    of one-sided pairs stays finite at logit(1 - e). e = 0 is DPO in both.
    Source: Mitchell 2023, "A note on DPO with noisy preferences" (cDPO); Ray Chowdhury et al. 2024, arXiv:2403.00409
    (rDPO).
    """

    beta: float = 0.1  # reward per nat of log-ratio, > 0
    flip_rate: float | str = 0.1  # probability of a flipped label, in [0, 0.5), or the data column that holds it
    form: Form = "conservative"  # cDPO or rDPO

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(Form, form=self.form)
        # "0.1" in quotes would otherwise be taken for the name of a column
        named = isinstance(self.flip_rate, str) and (self.flip_rate[:1].isalpha() or self.flip_rate[:1] == "_")
        if not named and (isinstance(self.flip_rate, str) or not 0 <= self.flip_rate < 0.5):
            raise ValueError(f"flip_rate = {self.flip_rate!r} must be a number in [0, 0.5), or name a data column")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.flip_rate,) if isinstance(self.flip_rate, str) else ()

    def __call__(self, batch: PairLogps) -> Loss:
        chosen, rejected = batch.log_ratios()
        margin = self.beta * (chosen - rejected)
        flip = self._flip(batch)
        if self.form == "conservative":
            terms = soft_logistic(margin, 1 - flip)
        else:
            terms = (-(1 - flip) * F.logsigmoid(margin) + flip * F.logsigmoid(-margin)) / (1 - 2 * flip)
        return pair_loss(terms, self.beta * chosen, self.beta * rejected)

    def _flip(self, batch: PairLogps) -> Tensor | float:
        if not isinstance(self.flip_rate, str):
            return self.flip_rate
        flip = batch.column(self.flip_rate, like=batch.chosen)
        if not torch.all((flip >= 0) & (flip < 0.5)):
            raise ValueError(f"column {self.flip_rate!r} must hold probabilities in [0, 0.5); it has {flip.tolist()}")
        return flip

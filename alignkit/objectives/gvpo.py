"""GVPO: group variance policy optimisation."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from alignkit.objectives._base import GroupObjective, Loss
from alignkit.objectives._batches import GroupLogps
from alignkit.objectives._ops import group_loss, one_of, positive

Anchor = Literal["old", "reference"]


@dataclass(frozen=True, kw_only=True)
class GVPO(GroupObjective):
    """1 / (2 (G - 1)) * sum_i [(rho_i - mean rho) - (r_i - mean r)]^2, averaged over prompts

    rho = beta * log pi(y)/anchor(y), summed over the tokens of y; means are over the G answers of a prompt, so that
    the normaliser Z cancels. In expectation half the variance of rho - r under whatever drew the answers.
    Optimum: anchor(y) exp(r / beta) / Z, alone and with loss 0, for every sampler that can draw all answers; no
    importance weights are needed. Anchor "old" is a trust region that moves with every generation, "reference" a pull
    to a fixed model. While the policy still is the anchor the gradient is that of REINFORCE times beta.
    Source: Zhang et al. 2025, arXiv:2504.19599.
    Differs from the authors' code: theirs sums over the prompts of a micro-batch; it is P times this mean.
    """

    beta: float = 0.1  # reward per nat of log-ratio, > 0
    anchor: Anchor = (
        "old"  # what holds the policy: what it was before the first update on these answers, or a fixed one
    )

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(Anchor, anchor=self.anchor)

    @property
    def needs_reference(self) -> bool:
        return self.anchor == "reference"

    @property
    def inert_on_policy(self) -> str:
        return "GVPO's regularisation towards the old policy" if self.anchor == "old" else ""

    def __call__(self, batch: GroupLogps) -> Loss:
        log_ratios = batch.log_ratios() if self.anchor == "old" else batch.ref_log_ratios()
        implicit = self.beta * log_ratios.sum(dim=2)
        residual = _centred(implicit) - _centred(batch.rewards)
        terms = residual.square().sum(dim=1) / (2 * max(residual.shape[1] - 1, 1))
        metrics = {"residual": residual.square().mean(dim=1), "implicit_reward": implicit, "kl": implicit / self.beta}
        return group_loss(terms, batch, metrics)


def _centred(values: Tensor) -> Tensor:
    """Values minus their group's mean, (P, G)."""
    return values - values.mean(dim=1, keepdim=True)

"""SRPO: self-improving robust preference optimisation."""

from dataclasses import dataclass

import torch

from alignkit.objectives._base import Loss, RevisionObjective
from alignkit.objectives._batches import RevisionLogps
from alignkit.objectives._ops import positive, reward_metrics


@dataclass(frozen=True, kw_only=True)
class SRPO(RevisionObjective):
    """(1 - alpha) * gen_scale * L_gen + alpha * L_rev

    With rho(y) = log pi(y)/ref(y), and r(a|b) that of answer a as a revision of answer b:

    L_rev = (1/2 - beta [r(w|l) - r(l|l)])^2 + (1/2 - beta [r(w|w) - r(l|w)])^2
    L_gen = (1 - beta [r(w|l) + rho(w) - r(l|w) - rho(l)])^2

    Optimum: the revision policy is ref(a|b) exp(P(a preferred to b) / beta) / Z(b), the policy ref(y) / Z(y), whatever
    policy drew the pairs and whatever alpha in (0, 1). alpha = 0 leaves the revision policy undetermined, alpha = 1
    does not train the policy.
    Source: Choi et al. 2024, arXiv:2406.01660. The objective is derived from the game it states; `gen_scale` covers the
    scaling of L_gen (1/4 for its halved form), which the sources read do not settle.
    """

    alpha: float = 0.8  # weight of the revision loss, in [0, 1]
    beta: float = 0.01  # regularisation: preference probability per nat of log-ratio, > 0
    gen_scale: float = 1.0  # factor on the generation loss, > 0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha = {self.alpha} must lie in [0, 1]")
        positive(beta=self.beta, gen_scale=self.gen_scale)

    def __call__(self, batch: RevisionLogps) -> Loss:
        chosen, rejected = batch.log_ratio("chosen"), batch.log_ratio("rejected")
        improved = batch.log_ratio("chosen_given_rejected")
        spoiled = batch.log_ratio("rejected_given_chosen")
        revision = (0.5 - self.beta * (improved - batch.log_ratio("rejected_given_rejected"))).square() + (
            0.5 - self.beta * (batch.log_ratio("chosen_given_chosen") - spoiled)
        ).square()
        generation = (1 - self.beta * (improved + chosen - spoiled - rejected)).square()
        terms = (1 - self.alpha) * self.gen_scale * generation + self.alpha * revision
        metrics = {
            **reward_metrics(self.beta * chosen, self.beta * rejected),
            "loss/generation": generation.detach(),
            "loss/revision": revision.detach(),
            "revision/accuracies": (improved > batch.log_ratio("rejected_given_rejected")).detach().to(terms.dtype),
        }
        return Loss(terms, torch.tensor(len(terms), device=terms.device), metrics)

"""MixCE: maximum likelihood mixed with the reverse cross entropy."""

from dataclasses import dataclass

from alignkit.objectives._base import Loss, TokenObjective
from alignkit.objectives._batches import TokenLogps
from alignkit.objectives._ops import token_loss, trained_logps


@dataclass(frozen=True, kw_only=True)
class MixCE(TokenObjective):
    """-(eta + (1 - eta) * sg[pi(x_t | x_<t)]) * log pi(x_t | x_<t), averaged over the trained tokens

    sg stops the gradient, which is that of -eta * log pi - (1 - eta) * pi. The printed value is not this potential,
    so an optimum is a zero of the gradient, not a minimum of the value.
    Optimum for data distribution p, per context: pi_i = eta p_i / (lambda - (1 - eta) p_i), with lambda such that pi
    sums to 1. eta = 1 is NLL and gives p; smaller eta sharpens towards the mode; eta = 0 is `dft` in TRL.
    Source: Zhang et al. 2023, arXiv:2305.16958, section 3.
    Differs from the authors' code: the mask is the caller's (theirs trains every token of a text).
    """

    eta: float = 0.5  # weight of the likelihood, in [0, 1]; 1 is NLL

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta = {self.eta} must lie in [0, 1]; 1 is plain NLL")

    def __call__(self, batch: TokenLogps) -> Loss:
        logps = trained_logps(batch)
        weight = self.eta + (1 - self.eta) * logps.detach().exp()
        return token_loss(-weight * logps, batch)

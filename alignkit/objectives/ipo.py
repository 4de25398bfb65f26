"""IPO: preference optimisation towards a finite margin."""

from dataclasses import dataclass
from typing import Literal

from alignkit.objectives._base import Loss, PairObjective
from alignkit.objectives._batches import PairLogps
from alignkit.objectives._ops import one_of, pair_loss, positive

Normalize = Literal["sum", "token"]


@dataclass(frozen=True, kw_only=True)
class IPO(PairObjective):
    """(h - 1 / (2 tau))^2 with h = log pi(w)/ref(w) - log pi(l)/ref(l)

    Optimum, pairs drawn from mu x mu: pi proportional to ref * exp(P(y preferred to mu) / tau), for any preferences.
    The gap of two log-ratios is (P_i - P_j) / tau, at most 1 / tau: deterministic preferences do not collapse it.
    `normalize="token"` averages each log-ratio over its tokens, as TRL does since 0.7.11 on the authors' word; the
    optimum above then holds for answers of equal length only, and tau is per token.
    Source: Azar et al. 2023, arXiv:2310.12036, equation 17.
    """

    tau: float = 0.1  # regularisation; the target margin is 1 / (2 tau) nats per sequence or per token, > 0
    normalize: Normalize = "sum"  # log-ratio of a sequence, or its mean per token

    def __post_init__(self) -> None:
        positive(tau=self.tau)
        one_of(Normalize, normalize=self.normalize)

    def __call__(self, batch: PairLogps) -> Loss:
        chosen, rejected = batch.log_ratios()
        if self.normalize == "token":
            chosen_length, rejected_length = batch.lengths()
            chosen, rejected = chosen / chosen_length, rejected / rejected_length
        terms = (chosen - rejected - 1 / (2 * self.tau)).square()
        return pair_loss(terms, self.tau * chosen, self.tau * rejected)

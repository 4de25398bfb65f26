"""Mean of the members."""

from dataclasses import dataclass

from torch import Tensor

from alignkit.rewards._combine import Combine


@dataclass(frozen=True, kw_only=True)
class Mean(Combine):
    """mean_m r_m

    Lowers the variance of a single member; where all members err alike it errs with them.
    """

    def combined(self, scores: Tensor) -> Tensor:
        return scores.mean(dim=0)

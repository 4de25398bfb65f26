"""The member in the middle decides."""

from dataclasses import dataclass

from torch import Tensor

from alignkit.rewards._combine import Combine


@dataclass(frozen=True, kw_only=True)
class Median(Combine):
    """median_m r_m, of an even number of members the mean of the two in the middle

    A minority of members cannot move it far.
    """

    def combined(self, scores: Tensor) -> Tensor:
        return scores.quantile(0.5, dim=0)

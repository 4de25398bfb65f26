"""The member that likes an answer least decides."""

from dataclasses import dataclass

from torch import Tensor

from alignkit.rewards._combine import Combine


@dataclass(frozen=True, kw_only=True)
class Worst(Combine):
    """min_m r_m

    Needs no coefficient, but members on one scale: the one with the lowest level would always decide.
    Source: Coste et al. 2024, arXiv:2310.02743 (WCO).
    """

    def combined(self, scores: Tensor) -> Tensor:
        return scores.min(dim=0).values

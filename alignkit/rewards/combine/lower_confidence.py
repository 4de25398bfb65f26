"""Mean of the members, less for disagreement, by their standard deviation."""

from dataclasses import dataclass

from torch import Tensor

from alignkit.rewards._combine import Combine, not_negative


@dataclass(frozen=True, kw_only=True)
class LowerConfidence(Combine):
    """mean_m r_m - coefficient * std_m r_m

    coefficient 0 is the mean, exactly. Unlike a variance, the standard deviation (the population's) scales as the
    rewards do.
    """

    coefficient: float = 1.0  # standard deviations below the mean, >= 0

    def __post_init__(self) -> None:
        not_negative(self.coefficient)

    def combined(self, scores: Tensor) -> Tensor:
        mean = scores.mean(dim=0)
        if self.coefficient == 0:
            return mean  # even where the deviation is not finite
        return mean - self.coefficient * scores.std(dim=0, correction=0)

"""Mean of the members, less for disagreement, by their variance."""

from dataclasses import dataclass

from torch import Tensor

from alignkit.rewards._combine import Combine, not_negative


@dataclass(frozen=True, kw_only=True)
class UncertaintyWeighted(Combine):
    """mean_m r_m - coefficient * var_m r_m

    coefficient 0 is the mean, exactly. A variance grows with the square of the scale: on rewards with standard
    deviation s, the coefficient acts like s * coefficient on standardised ones.
    Source: Coste et al. 2024, arXiv:2310.02743, equation 5 (UWO), which has the population's variance, as has the code
    for best-of-n; the authors' PPO code divides by M - 1.
    """

    coefficient: float = 0.5  # reward lost per unit of variance, >= 0
    unbiased: bool = False  # divide by M - 1 instead of M

    def __post_init__(self) -> None:
        not_negative(self.coefficient)

    def combined(self, scores: Tensor) -> Tensor:
        mean = scores.mean(dim=0)
        if self.coefficient == 0:
            return mean  # even where the variance is not finite
        if self.unbiased and len(scores) == 1:
            raise ValueError("unbiased: true needs two members or more; write false for one")
        return mean - self.coefficient * scores.var(dim=0, correction=int(self.unbiased))

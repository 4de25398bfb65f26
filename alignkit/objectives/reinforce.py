"""REINFORCE: the policy gradient with a leave-one-out baseline."""

from dataclasses import dataclass

from alignkit.objectives._base import GroupObjective, Loss
from alignkit.objectives._batches import GroupLogps
from alignkit.objectives._ops import group_loss, leave_one_out


@dataclass(frozen=True, kw_only=True)
class Reinforce(GroupObjective):
    """-1/G * sum_i sg[R_i - mean of the other R_j] * log pi(y_i), averaged over prompts

    R = r - beta * log pi(y)/ref(y), sums over the tokens of y, without gradient. The baseline does not depend on its
    answer, so the gradient is exactly that of E[r] - beta KL(pi || ref) while the policy is the one that answered;
    with several updates per generation it is stale, as no ratio corrects it: use grpo there.
    Optimum: ref(y) exp(r / beta) / Z. beta = 0 has no regulariser, and the best answer wins.
    Source: Ahmadian et al. 2024, arXiv:2402.14740 (RLOO); the baseline is Kool, van Hoof and Welling 2019.
    """

    beta: float = 0.0  # reward per nat of log-ratio to the reference, >= 0; 0 loads no reference

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta = {self.beta} must be a finite number, 0 or above")

    @property
    def needs_reference(self) -> bool:
        return self.beta > 0

    def __call__(self, batch: GroupLogps) -> Loss:
        rewards, metrics = batch.rewards, {}
        if self.needs_reference:
            log_ratios = batch.ref_log_ratios().sum(dim=2).detach()
            rewards, metrics = rewards - self.beta * log_ratios, {"kl": log_ratios}
        terms = -(leave_one_out(rewards) * batch.trained(batch.logps).sum(dim=2)).mean(dim=1)
        return group_loss(terms, batch, metrics)

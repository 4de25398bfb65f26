"""DisCO: discriminative constrained optimisation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignkit.objectives._base import GroupObjective, Loss
from alignkit.objectives._batches import GroupLogps
from alignkit.objectives._ops import exp_ratio, group_loss, k3, one_of, positive

Score = Literal["logl", "lratio"]
Contrast = Literal["basic", "dro"]
Divergence = Literal["k1", "k3"]
Penalty = Literal["paper", "official"]

ZERO_OR_ONE = "DisCO tells right from wrong answers: rewards must be 0 or 1"


@dataclass(frozen=True, kw_only=True)
class DisCO(GroupObjective):
    """-mean over prompts [mean_right s - f(s of wrong)] + c * beta * max(KL - delta, 0)^2

    s is the mean over tokens of log pi ("logl") or of pi/old ("lratio"). f is the mean ("basic", DisCO-b) or
    tau * log mean exp(s / tau) ("dro"; tau -> 0 is the worst answer, tau -> inf the mean). c = 1 for the "paper"'s
    penalty, 1/2 for the gradient of the "official" code. Prompts all right or all wrong add 0 and are counted.
    KL(old || pi) is a mean over the trained tokens of the micro-batch on all ranks. At KL <= delta, and so whenever
    the policy is the old one, the penalty has no gradient.
    Gradient: of one-token answers under "basic", right ones weigh 1 / #right, wrong ones 1 / #wrong however often the
    prompt is solved: 1 - p^G - (1 - p)^G in expectation, against GRPO's sqrt(p (1 - p)).
    Source: Li et al. 2025, arXiv:2505.12366.
    Differs from the authors' code: theirs prints other values (mean_right s - tau for "dro", beta * [KL - delta]+ * KL
    for the penalty) with these gradients; its "lratio" with "dro" cannot run as released.
    """

    score: Score = "logl"  # what tells right from wrong answers apart
    contrast: Contrast = "dro"  # how wrong answers are weighed against each other
    tau: float = 10.0  # temperature of "dro" in units of s, > 0; the paper's 10 is for logl, 1 for lratio
    beta: float = 1000.0  # penalty per squared nat per token, > 0
    delta: float = 1e-4  # KL that costs nothing, nats per token, >= 0
    kl: Divergence = "k1"  # estimator: mean log old/pi, may be negative; or k3, at least 0 for every token
    penalty: Penalty = "official"  # beta times the squared hinge, or half of it

    def __post_init__(self) -> None:
        one_of(Score, score=self.score)
        one_of(Contrast, contrast=self.contrast)
        one_of(Divergence, kl=self.kl)
        one_of(Penalty, penalty=self.penalty)
        positive(tau=self.tau, beta=self.beta)
        if not 0 <= self.delta < float("inf"):
            raise ValueError(f"delta = {self.delta} must be a finite number, 0 or above")

    @property
    def inert_on_policy(self) -> str:
        return "DisCO's KL constraint"

    @property
    def asks_of_rewards(self) -> str:
        return ZERO_OR_ONE

    def unusable(self, rewards: Tensor) -> Tensor:
        return _neither(rewards)

    def statistics(self, batch: GroupLogps) -> Mapping[str, tuple[Tensor, Tensor]]:
        tokens = batch.mask.bool().sum()
        prompts = torch.tensor(len(batch.logps), device=batch.logps.device)
        return {"kl": (self._divergence(batch).detach().sum(), tokens), "tokens_per_prompt": (tokens, prompts)}

    def __call__(self, batch: GroupLogps) -> Loss:
        values = batch.logps if self.score == "logl" else exp_ratio(batch.log_ratios())
        gain = self._gain(batch.token_means(values), _right(batch.rewards))
        level = self._mean("kl", batch)
        hinge = (level - self.delta).clamp(min=0)
        weight = self.beta if self.penalty == "paper" else self.beta / 2
        # A prompt's share of KL, whose mean over prompts is KL: the gradient flows here, the level is a number
        share = self._divergence(batch).sum(dim=(1, 2)) / self._mean("tokens_per_prompt", batch).clamp(min=1)
        terms = -gain + weight * (hinge.square() + 2 * hinge * (share - share.detach()))
        metrics = {"kl": level, "kl_excess": hinge, "contrast": gain}
        return group_loss(terms, batch, metrics)

    def _divergence(self, batch: GroupLogps) -> Tensor:
        """Estimate of KL(old || pi) at every trained token, 0 elsewhere, (P, G, T)."""
        log_ratios = batch.log_ratios()
        return -log_ratios if self.kl == "k1" else k3(log_ratios)

    def _gain(self, scores: Tensor, right: Tensor) -> Tensor:
        """Mean score of right answers minus that of wrong ones, 0 for prompts that have only one kind, (P,)."""
        mixed = right.any(dim=1) & ~right.all(dim=1)
        high = torch.where(right, scores, 0).sum(dim=1) / right.sum(dim=1).clamp(min=1)
        wrong = (~right).sum(dim=1).clamp(min=1).to(scores.dtype)
        if self.contrast == "basic":
            low = torch.where(right, 0, scores).sum(dim=1) / wrong
        else:
            # where nothing is wrong every answer stays: the logarithm of an empty sum has no gradient
            hidden = right & mixed[:, None]
            low = self.tau * ((scores / self.tau).masked_fill(hidden, -torch.inf).logsumexp(dim=1) - wrong.log())
        return torch.where(mixed, high - low, 0)


def _right(rewards: Tensor) -> Tensor:
    """Which answers are right, (P, G) bool. ValueError unless every reward is 0 or 1."""
    if (neither := _neither(rewards)).any():
        raise ValueError(f"{ZERO_OR_ONE}; got {rewards[neither].unique().tolist()[:5]}")
    return rewards == 1


def _neither(rewards: Tensor) -> Tensor:
    return (rewards != 0) & (rewards != 1)

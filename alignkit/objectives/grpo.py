"""GRPO: group relative policy optimisation, and its variants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignkit.objectives._base import GroupObjective, Loss
from alignkit.objectives._batches import GroupLogps
from alignkit.objectives._ops import exp_ratio, k3, one_of, positive

Reduction = Literal["dapo", "grpo", "bnpo", "dr_grpo"]
Surrogate = Literal["clip", "cispo"]
Level = Literal["token", "sequence"]
Scaling = Literal["group", "batch", "none"]
Divergence = Literal["corrected", "k3"]


@dataclass(frozen=True, kw_only=True)
class GRPO(GroupObjective):
    """-min(w A, clip(w, 1 - epsilon, 1 + epsilon_high) A) + beta * KL, per token, then reduced

    w = pi/old of a token, or of an answer's geometric mean over tokens (ratio "sequence": GSPO). A is the reward minus
    its group's mean, divided by its standard deviation + 1e-4 (scaling). "cispo" is -sg[min(w, epsilon_high)] A log pi.
    KL is k3 = exp(log ref/pi) - log ref/pi - 1, times w with its gradient where "corrected" (DeepSeek-V3.2).

    reduction   dapo: sum over tokens / tokens of the generation    grpo: mean over answers of the mean over tokens
                bnpo: as dapo, tokens of the micro-batch            dr_grpo: sum over tokens / (answers * longest)

    Optimum of one-token answers without scaling, G answers: corrected, ref(y) exp((G - 1)/G r / beta) / Z; k3,
    ref(y) / (1 - ((G - 1)/G r - c) / beta), c such that it sums to 1. Scaling by group has neither, and gives a prompt
    solved with probability p the weight sqrt(p (1 - p)) as G grows.
    Source: Shao et al. 2024, arXiv:2402.03300, in the form and with the defaults of TRL 1.16; DAPO arXiv:2503.14476,
    Dr.GRPO arXiv:2503.20783, GSPO arXiv:2507.18071, CISPO arXiv:2506.13585.
    Differs from TRL: ratios stop at exp(20), and the entropy quantile is of this device's tokens.
    """

    not_here = dict.fromkeys(
        ("sapo", "vespo", "luspo", "off_policy_mask_threshold"),
        "choose a reduction, surrogate, ratio and scaling, or write an objective of your own",
    )

    reduction: Reduction = "dapo"  # what the tokens' losses are divided by
    surrogate: Surrogate = "clip"  # how large ratios are held back
    ratio: Level = "token"  # of which probabilities the ratio is
    scaling: Scaling = "group"  # whose standard deviation divides advantages; dr_grpo's authors take none
    epsilon: float = 0.2  # a ratio below 1 - epsilon gains nothing, > 0
    epsilon_high: float | None = None  # likewise above 1 + epsilon_high; None: epsilon. cispo caps w at it (ScaleRL: 5)
    delta: float | None = None  # bound of w where A < 0 too, best above 1 + epsilon_high; None: no bound
    beta: float = 0.0  # weight of KL, reward per nat, >= 0; 0 loads no reference
    kl: Divergence = "corrected"  # k3 times the ratio, or plain
    max_completion_length: int | None = None  # tokens, the longest of dr_grpo, > 0; None: T
    top_entropy_quantile: float = 1.0  # share of tokens trained, those of highest entropy, in (0, 1]
    entropy_coef: float = 0.0  # bonus per nat of the mean entropy of trained tokens, >= 0

    def __post_init__(self) -> None:
        one_of(Reduction, reduction=self.reduction)
        one_of(Surrogate, surrogate=self.surrogate)
        one_of(Level, ratio=self.ratio)
        one_of(Scaling, scaling=self.scaling)
        one_of(Divergence, kl=self.kl)
        given = {name: getattr(self, name) for name in ("epsilon_high", "delta", "max_completion_length")}
        positive(epsilon=self.epsilon, **{name: value for name, value in given.items() if value is not None})
        for name in ("beta", "entropy_coef"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)} must be a finite number, 0 or above")
        if not 0 < self.top_entropy_quantile <= 1:
            raise ValueError(f"top_entropy_quantile = {self.top_entropy_quantile} must lie in (0, 1]; 1 is all tokens")

    @property
    def needs_reference(self) -> bool:
        return self.beta > 0

    @property
    def needs_entropies(self) -> bool:
        return self.entropy_coef > 0

    @property
    def counts_micro_batch(self) -> bool:
        return self.reduction == "bnpo"

    @property
    def asks_of_rewards(self) -> str:
        return "rewards must be finite, or NaN where nobody scored an answer"

    def unusable(self, rewards: Tensor) -> Tensor:
        return rewards.isinf()

    def reward_statistics(self, rewards: Tensor) -> Mapping[str, tuple[Tensor, Tensor]]:
        if self.scaling != "batch":
            return {}
        known = rewards.isfinite()
        rewards = torch.where(known, rewards, 0)
        return {"rewards": (rewards.sum(), known.sum()), "squared_rewards": (rewards.square().sum(), known.sum())}

    def __call__(self, batch: GroupLogps) -> Loss:
        log_ratios = batch.log_ratios()
        if self.ratio == "sequence":
            log_ratios = batch.token_means(log_ratios)[:, :, None]
        ratios = exp_ratio(log_ratios)
        advantages = self._advantages(batch)[:, :, None]
        trained = self._trained(batch)
        losses = torch.where(trained, -self._surrogate(ratios, advantages, batch.logps), 0)
        if batch.sampler_ratios is not None:
            losses = losses * batch.sampler_ratios
        metrics = self._clipped(batch, ratios.detach(), advantages)
        if self.needs_reference:
            divergence = k3(-batch.ref_log_ratios()) * (ratios if self.kl == "corrected" else 1)
            losses = losses + self.beta * divergence
            metrics["kl"] = divergence.detach()[batch.mask.bool()]
        return self._reduced(batch, losses, trained, metrics)

    def _reduced(self, batch: GroupLogps, losses: Tensor, trained: Tensor, metrics: dict[str, Tensor]) -> Loss:
        tokens = batch.mask.bool().sum()
        answers = torch.tensor(batch.rewards.numel(), device=tokens.device)
        if self.reduction == "grpo":
            terms, count = batch.token_means(losses).sum(dim=1), answers
        else:
            longest = self.max_completion_length or batch.logps.shape[2]
            terms = batch.trained(losses).sum(dim=(1, 2))
            count = answers * longest if self.reduction == "dr_grpo" else tokens
        if self.entropy_coef:
            # The bonus is a mean over the tokens trained, whatever the losses are divided by
            bonus = torch.where(trained, _entropies(batch), 0).sum(dim=(1, 2))
            terms = terms - self.entropy_coef * bonus * count / trained.sum().clamp(min=1)
        return Loss(terms, count, metrics)

    def _surrogate(self, ratios: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """What each token gains, (P, G, T), or (P, G, 1) where all of an answer's tokens share it."""
        if self.surrogate == "cispo":
            return ratios.detach().clamp(max=self._high()) * advantages * logps
        clipped = ratios.clamp(1 - self.epsilon, 1 + self._high())
        bounded = ratios if self.delta is None else ratios.clamp(max=self.delta)
        return torch.minimum(bounded * advantages, clipped * advantages)

    def _advantages(self, batch: GroupLogps) -> Tensor:
        """(P, G), without gradient. Answers whose reward is NaN were not scored: 0, and left out of the means."""
        rewards = batch.rewards
        centred = rewards - rewards.nanmean(dim=1, keepdim=True)
        if self.scaling == "group":
            known = centred.isfinite().sum(dim=1, keepdim=True)
            variance = centred.square().nansum(dim=1, keepdim=True) / (known - 1).clamp(min=1)
            centred = centred / (variance.sqrt() + 1e-4)
        elif self.scaling == "batch":
            centred = centred / (self._batch_deviation(batch) + 1e-4)
        return centred.nan_to_num(nan=0.0)

    def _batch_deviation(self, batch: GroupLogps) -> Tensor:
        given = self.statistics(batch) if batch.statistics is None else batch.statistics
        (total, count), (squares, _) = given["rewards"], given["squared_rewards"]
        variance = (squares - total.square() / count.clamp(min=1)) / (count - 1).clamp(min=1)
        return variance.clamp(min=0).sqrt().to(batch.rewards.dtype)

    def _trained(self, batch: GroupLogps) -> Tensor:
        """Tokens whose surrogate counts: those of high entropy, (P, G, T) bool."""
        mask = batch.mask.bool()
        if self.top_entropy_quantile == 1 or not mask.any():
            return mask
        entropies = _entropies(batch).detach()
        return mask & (entropies >= torch.quantile(entropies[mask].float(), 1 - self.top_entropy_quantile))

    def _clipped(self, batch: GroupLogps, ratios: Tensor, advantages: Tensor) -> dict[str, Tensor]:
        """Share of tokens, or of answers, that the clip holds back; TRL's names."""
        mask = batch.mask.bool() if self.ratio == "token" else torch.ones_like(ratios, dtype=torch.bool)
        gains, loses = advantages > 0, advantages < 0
        if self.surrogate == "cispo":
            return {"cispo_clip_ratio": ((ratios > self._high()) & gains)[mask].to(ratios.dtype)}
        low = ((ratios < 1 - self.epsilon) & loses)[mask].to(ratios.dtype)
        high = ((ratios > 1 + self._high()) & gains)[mask].to(ratios.dtype)
        return {"clip_ratio/low_mean": low, "clip_ratio/high_mean": high, "clip_ratio/region_mean": low + high}

    def _high(self) -> float:
        return self.epsilon if self.epsilon_high is None else self.epsilon_high


def _entropies(batch: GroupLogps) -> Tensor:
    if batch.entropies is None:
        raise ValueError("an entropy bonus or quantile needs the policy's entropies: give entropies")
    return batch.entropies

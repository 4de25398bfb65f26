"""Pure pieces that several objectives share."""

import math
from collections.abc import Mapping
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.objectives._base import Loss
from alignkit.objectives._batches import GroupLogps, RewardScores, TokenLogps


def pair_loss(terms: Tensor, chosen: Tensor, rejected: Tensor) -> Loss:
    """Loss over pairs, with the metrics of their implicit rewards `chosen` and `rejected`, (B,) each."""
    return Loss(terms, torch.tensor(len(terms), device=terms.device), reward_metrics(chosen, rejected))


def reward_metrics(chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """What users of preference methods watch, under TRL's names; (B,) each, detached."""
    chosen, rejected = chosen.detach(), rejected.detach()
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
        "rewards/margins": chosen - rejected,
    }


def ranking_loss(terms: Tensor, batch: RewardScores) -> Loss:
    """Loss over rankings: terms (P,) become 0 where fewer than two answers are, and such rankings are not counted."""
    scores, mask = batch.ranked()
    compared = mask.sum(dim=1) >= 2
    terms = torch.where(compared, terms, 0)
    return Loss(terms, compared.sum(), ranking_metrics(scores.detach(), mask, compared))


def ranking_metrics(scores: Tensor, mask: Tensor, compared: Tensor) -> dict[str, Tensor]:
    """Of each ranking with two answers or more: share of its pairs that are in order, and best minus worst."""
    right = pairwise(mask) & (scores[:, :, None] > scores[:, None, :])
    pairs = pairwise(mask).sum(dim=(1, 2)).clamp(min=1)
    worst = (mask.sum(dim=1) - 1).clamp(min=0)[:, None]
    margin = scores[:, :1] - scores.gather(1, worst) if scores.shape[1] else scores
    accuracy = right.sum(dim=(1, 2)).to(scores.dtype) / pairs
    return {"accuracy": accuracy[compared], "margin": margin.squeeze(1)[compared]}


def pairwise(mask: Tensor) -> Tensor:
    """Which (better, worse) pairs a ranking holds, (P, K, K) bool."""
    return (mask[:, :, None] & mask[:, None, :]).triu(diagonal=1)


def soft_logistic(margin: Tensor, target: Tensor | float) -> Tensor:
    """-target * log sigmoid(margin) - (1 - target) * log sigmoid(-margin): cross entropy with a soft label."""
    return -target * F.logsigmoid(margin) - (1 - target) * F.logsigmoid(-margin)


def token_loss(terms: Tensor, batch: TokenLogps) -> Loss:
    """Loss over trained tokens: terms (B, T), 0 where the mask is; counts tokens."""
    return Loss(terms, batch.mask.bool().sum())


def trained_logps(batch: TokenLogps) -> Tensor:
    """Log-probabilities of trained tokens, 0 elsewhere, (B, T): padding reaches neither the value nor the gradient."""
    return torch.where(batch.mask.bool(), batch.logps, 0)


def group_loss(terms: Tensor, batch: GroupLogps, metrics: Mapping[str, Tensor]) -> Loss:
    """Loss over prompts: terms (P,); counts prompts."""
    return Loss(terms, torch.tensor(len(terms), device=terms.device), {name: m.detach() for name, m in metrics.items()})


def exp_ratio(log_ratio: Tensor) -> Tensor:
    """exp, finite: at 20 nats every clip has long been reached, and an infinite ratio times 0 would be NaN."""
    return log_ratio.clamp(-20, 20).exp()


def k3(log_ratio: Tensor) -> Tensor:
    """exp(x) - x - 1 of x = log q/p: estimates KL(p || q) from samples of p, never negative. (Schulman's k3.)"""
    return exp_ratio(log_ratio) - log_ratio - 1


def leave_one_out(rewards: Tensor) -> Tensor:
    """Every reward minus the mean of the others in its group, (P, G). With G = 1 there are none: 0."""
    answers = rewards.shape[1]
    return (rewards - rewards.mean(dim=1, keepdim=True)) * (answers / max(answers - 1, 1))


def one_of(choices: object, **values: str) -> None:
    """Refuse values outside a Literal: `make` checks them, a direct construction would take anything."""
    for name, value in values.items():
        if value not in get_args(choices):
            raise ValueError(f"{name} = {value!r} must be one of {', '.join(get_args(choices))}")


def finite(**numbers: float) -> None:
    """Refuse hyperparameters that are infinite or no number."""
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} = {value} must be a finite number")


def positive(**numbers: float) -> None:
    """Refuse hyperparameters that are not finite numbers above 0."""
    for name, value in numbers.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} = {value} must be a finite number above 0")

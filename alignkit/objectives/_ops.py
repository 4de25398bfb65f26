"""Pure pieces that several objectives share."""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.objectives._base import Loss
from alignkit.objectives._batches import TokenLogps


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


def soft_logistic(margin: Tensor, target: Tensor | float) -> Tensor:
    """-target * log sigmoid(margin) - (1 - target) * log sigmoid(-margin): cross entropy with a soft label."""
    return -target * F.logsigmoid(margin) - (1 - target) * F.logsigmoid(-margin)


def token_loss(terms: Tensor, batch: TokenLogps) -> Loss:
    """Loss over trained tokens: terms (B, T), 0 where the mask is; counts tokens."""
    return Loss(terms, batch.mask.bool().sum())


def trained_logps(batch: TokenLogps) -> Tensor:
    """Log-probabilities of trained tokens, 0 elsewhere, (B, T): padding reaches neither the value nor the gradient."""
    return torch.where(batch.mask.bool(), batch.logps, 0)


def one_of(choices: object, **values: str) -> None:
    """Refuse values outside a Literal: `make` checks them, a direct construction would take anything."""
    for name, value in values.items():
        if value not in get_args(choices):
            raise ValueError(f"{name} = {value!r} must be one of {', '.join(get_args(choices))}")


def positive(**numbers: float) -> None:
    """Refuse hyperparameters that are not finite numbers above 0."""
    for name, value in numbers.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} = {value} must be a finite number above 0")

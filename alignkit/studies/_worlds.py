"""What over-optimisation is studied on: a policy's answers, a gold reward that is known, and proxies of it."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from alignkit.objectives import RewardScores, make

BATCH = 50  # pairs
EPOCHS = 60
LEARNING_RATE = 3e-3
WIDTH = 64  # of a reward network's two hidden layers


@dataclass(frozen=True, kw_only=True)
class Answers:
    """N answers of the policy to each of P prompts."""

    features: Tensor  # (P, N, D): what reward models see of them
    gold: Tensor  # (P, N)

    def in_pairs(self) -> "Answers":
        """Neighbours as pairs: features (P N / 2, 2, D), gold (P N / 2, 2)."""
        return Answers(features=self.features.reshape(-1, 2, self.features.shape[-1]), gold=self.gold.reshape(-1, 2))


class World(Protocol):
    """A policy, and a gold reward that is another one for every seed."""

    def __call__(self, seed: int) -> Answers: ...


class Proxies(nn.Module):
    """M reward networks of two hidden layers, independent of each other and computed side by side.

    Once `calibrated`, each has mean 0 and standard deviation 1 over the answers it was calibrated on.
    """

    def __init__(self, members: int, inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in ((inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)):
            drawn = torch.rand(members, before, after, generator=generator) * 2 - 1
            self.weights.append(drawn / math.sqrt(before))
            self.biases.append(torch.zeros(members, 1, after))
        self.register_buffer("mean", torch.zeros(members, 1))
        self.register_buffer("std", torch.ones(members, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(M, N) rewards of N answers, (N, D), or of N answers of each member's own, (M, N, D)."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            features = (features.relu() if layer else features) @ weight + bias
        return (features.squeeze(-1) - self.mean) / self.std

    @torch.no_grad()
    def calibrate(self, features: Tensor) -> None:
        """Take mean and standard deviation from answers that serve for nothing else, (N, D)."""
        scores = self(features)
        self.mean, self.std = scores.mean(dim=1, keepdim=True), scores.std(dim=1, keepdim=True)


def train(pairs: Answers, flips: float, members: int, generator: torch.Generator) -> Proxies:
    """Proxies by Bradley-Terry from pairs whose first answers are compared with their second ones by the gold reward.

    All members see the same pairs, of which a share of `flips` has its label turned round; they differ in their first
    weights and in the order of the pairs, as in Coste et al. 2024, arXiv:2310.02743.

    Args:
        pairs: features (B, 2, D), gold (B, 2).
    """
    turned = (pairs.gold[:, 0] < pairs.gold[:, 1]) ^ (torch.rand(len(pairs.gold), generator=generator) < flips)
    features = torch.where(turned[:, None, None], pairs.features.flip(1), pairs.features)  # the better one first
    proxies = Proxies(members, features.shape[-1], generator)
    objective = make("bradley_terry")
    optimizer = torch.optim.Adam(proxies.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        orders = torch.stack([torch.randperm(len(features), generator=generator) for _ in range(members)])
        for numbers in orders.split(BATCH, dim=1):
            scores = proxies(features[numbers].flatten(1, 2)).view(-1, 2)
            loss = objective(RewardScores(scores=scores)).terms.sum() / numbers.shape[1]  # a mean for each member
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return proxies

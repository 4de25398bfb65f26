"""Problems small enough to solve exactly: a policy is a table, a loss an expectation over every batch row there is.

A population lists all the rows that sampling could draw, with their probabilities, so its loss has no sampling error.
It calls the same objective objects as the trainers. Everything is float64. Policies are log-probabilities, (K, *shape)
for K of them at once: a batch then holds the rows of all, one policy after the other.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from alignkit.lab._equilibrium import stationary_point
from alignkit.objectives import Batch, Objective, PairLogps, RevisionLogps, TokenLogps, UnpairedLogps


class Population(ABC):
    """Every row of a batch and its probability."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one policy's table."""

    @abstractmethod
    def batch(self, policies: Tensor) -> Batch:
        """All the rows of all the policies."""

    @abstractmethod
    def weights(self) -> Tensor:
        """The probability of each row of one policy, (R,); sums to 1."""

    def losses(self, objective: Objective, policies: Tensor) -> Tensor:
        """The expected loss of each policy, (K,); batch statistics are replaced by their expectations."""
        if len(policies) > 1 and objective.statistics(self.batch(policies)):
            return torch.cat([self.losses(objective, policy[None]) for policy in policies])
        batch, weights = self.batch(policies), self.weights()
        batch = replace(batch, statistics=_expected_statistics(objective, batch, weights))
        return objective(batch).terms.reshape(len(policies), -1) @ weights

    def gradient(self, objective: Objective, logps: Tensor) -> Tensor:
        """Of one policy's expected loss by its log-probabilities, taken as free numbers."""
        logps = logps.detach().requires_grad_()
        return torch.autograd.grad(self.losses(objective, logps[None]).sum(), logps)[0]


@dataclass(frozen=True, kw_only=True)
class Pairs(Population):
    """Two of n answers are drawn from `mu` independently, and answer i wins against j with probability P[i, j]."""

    ref: Tensor  # (n,) probabilities
    mu: Tensor  # (n,) probabilities
    preference: Tensor  # (n, n); P[i, j] + P[j, i] = 1
    scores: Tensor | None = None  # (n,) quality of each answer, for objectives that read the columns
    scores_swap: bool = False  # whether the better score goes to whoever the label says won

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.ref.shape)

    def weights(self) -> Tensor:
        drawn = self.mu[:, None] * self.mu[None, :] * self.preference
        winners, losers = _pairs(len(self.ref))
        return drawn[winners, losers] / drawn[winners, losers].sum()  # a pair of equal answers teaches nothing

    def batch(self, policies: Tensor) -> PairLogps:
        winners, losers = (index.repeat(len(policies)) for index in _pairs(len(self.ref)))
        ref, length = self.ref.log(), torch.ones(len(winners), dtype=torch.int64)
        chosen, rejected = (policies[:, index].flatten() for index in _pairs(len(self.ref)))
        return PairLogps(
            chosen=chosen,
            rejected=rejected,
            ref_chosen=ref[winners],
            ref_rejected=ref[losers],
            chosen_length=length,
            rejected_length=length,
            columns={} if self.scores is None else self._columns(self.scores[winners], self.scores[losers]),
        )

    def _columns(self, winner: Tensor, loser: Tensor) -> dict[str, Tensor]:
        if self.scores_swap:
            winner, loser = torch.maximum(winner, loser), torch.minimum(winner, loser)
        return {"score_chosen": winner, "score_rejected": loser}


@dataclass(frozen=True, kw_only=True)
class Revisions(Population):
    """As `Pairs`, where the policy also revises: its row 0 answers, its row 1 + j improves on answer j."""

    ref: Tensor  # (n + 1, n) probabilities, rows as in the policy
    mu: Tensor  # (n,)
    preference: Tensor  # (n, n)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.ref.shape)

    def weights(self) -> Tensor:
        return Pairs(ref=self.ref[0], mu=self.mu, preference=self.preference).weights()

    def batch(self, policies: Tensor) -> RevisionLogps:
        winners, losers = _pairs(self.ref.shape[1])
        answering = torch.zeros_like(winners)
        cells: dict[str, tuple[Tensor, Tensor]] = {
            "chosen": (answering, winners),
            "rejected": (answering, losers),
            "chosen_given_rejected": (1 + losers, winners),
            "rejected_given_rejected": (1 + losers, losers),
            "chosen_given_chosen": (1 + winners, winners),
            "rejected_given_chosen": (1 + winners, losers),
        }
        ref = self.ref.log()
        learned: dict[str, Any] = {name: policies[:, row, column].flatten() for name, (row, column) in cells.items()}
        fixed: dict[str, Any] = {f"ref_{name}": ref[cell].repeat(len(policies)) for name, cell in cells.items()}
        return RevisionLogps(**learned, **fixed)


@dataclass(frozen=True, kw_only=True)
class Thumbs(Population):
    """Answers drawn from `mu`; answer y gets a thumb up with probability `share[y]`. One policy at a time."""

    ref: Tensor  # (n,)
    mu: Tensor  # (n,)
    share: Tensor  # (n,)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.ref.shape)

    def weights(self) -> Tensor:
        return torch.cat([self.mu * self.share, self.mu * (1 - self.share)])

    def batch(self, policies: Tensor) -> UnpairedLogps:
        (logps,), ref = policies, self.ref.log()
        up = torch.ones_like(self.mu, dtype=torch.bool)
        return UnpairedLogps(
            policy=torch.cat([logps, logps]),
            ref=torch.cat([ref, ref]),
            desirable=torch.cat([up, ~up]),
            kl=(self.mu * (logps - ref)).sum(),  # another prompt's answers follow the same mu
        )


@dataclass(frozen=True, kw_only=True)
class Texts(Population):
    """Texts of one token, drawn from `data`."""

    data: Tensor  # (n,) probabilities
    aligned_logps: Tensor  # (n,) what aligned models think of each text, nats

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    def weights(self) -> Tensor:
        return self.data

    def batch(self, policies: Tensor) -> TokenLogps:
        logps = policies.reshape(-1, 1)
        mask = torch.ones_like(logps, dtype=torch.bool)
        return TokenLogps(logps=logps, mask=mask, columns={"aligned_logps": self.aligned_logps.repeat(len(policies))})


def optimum(population: Population, objective: Objective, start: Tensor | None = None) -> Tensor:
    """Log-probabilities of the policy at which the expected gradient vanishes, reached from `start` or from uniform.

    Raises:
        ArithmeticError: there is no such policy, or none was found.
    """
    *rows, n = population.shape
    first = torch.zeros(*rows, n - 1, dtype=torch.float64) if start is None else start[..., 1:] - start[..., :1]

    def gradients(points: Tensor) -> Tensor:
        free = points.reshape(-1, *rows, n - 1).detach().requires_grad_()
        losses = population.losses(objective, _log_policy(free))
        return torch.autograd.grad(losses.sum(), free)[0].reshape(points.shape)

    return _log_policy(stationary_point(gradients, first.flatten()).reshape(*rows, n - 1))


def descend(population: Population, objective: Objective, steps: int, learning_rate: float = 0.1) -> Tensor:
    """Log-probabilities after 0, 1, ..., `steps` steps of Adam on the exact gradient from uniform; (steps + 1, *shape).

    For objectives without an optimum, where all one can ask is how far they have gone.
    """
    logits = torch.zeros(population.shape, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=learning_rate)
    path = [logits.detach().log_softmax(-1)]
    for _ in range(steps):
        adam.zero_grad()
        population.losses(objective, logits.log_softmax(-1)[None]).sum().backward()
        adam.step()
        path.append(logits.detach().log_softmax(-1))
    return torch.stack(path)


def random_policy(population: Population, generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """Log-probabilities with Gaussian logits."""
    return (scale * torch.randn(population.shape, generator=generator, dtype=torch.float64)).log_softmax(-1)


def total_variation(logps: Tensor, other: Tensor) -> Tensor:
    """Half the sum of absolute differences of the probabilities, (...,) for policies (..., n)."""
    return (logps.exp() - other.exp()).abs().sum(-1) / 2


def _log_policy(free: Tensor) -> Tensor:
    """Log-probabilities from all logits but the first, which is 0: then no direction is flat."""
    return torch.cat([torch.zeros_like(free[..., :1]), free], dim=-1).log_softmax(-1)


def _pairs(n: int) -> tuple[Tensor, Tensor]:
    """Indices of all ordered pairs of different answers, (n (n - 1),) each."""
    winners, losers = (~torch.eye(n, dtype=torch.bool)).nonzero(as_tuple=True)
    return winners, losers


def _expected_statistics(objective: Objective, batch: Batch, weights: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    names = objective.statistics(batch)
    if not names:
        return {}
    rows = [objective.statistics(_row(batch, i)) for i in range(len(weights))]
    sums = {name: torch.stack([row[name][0] for row in rows]) @ weights for name in names}
    counts = {name: torch.stack([row[name][1] for row in rows]).double() @ weights for name in names}
    return {name: (sums[name], counts[name]) for name in names}


def _row(batch: Batch, i: int) -> Batch:
    values = {item.name: getattr(batch, item.name) for item in fields(batch)}
    row: dict[str, Any] = {name: value[i : i + 1] for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **row)

"""Policies small enough to be tables, populations in place of samples, and a solver for where training ends."""

from collections.abc import Callable, Mapping
from itertools import permutations, product

import torch
from torch import Tensor

from alignkit.objectives import Batch, GroupLogps, Objective, PairLogps, RewardScores, TokenLogps

# Log-probabilities of a policy (its table) in; the batch of all that can happen, and the probability of each term, out.
Population = Callable[[Tensor], tuple[Batch, Tensor]]


def bradley_terry(reward: Tensor) -> Tensor:
    """P[i, j], the probability that answer i is preferred to answer j."""
    return torch.sigmoid(reward[:, None] - reward)


def tilted(reference: Tensor, tilt: Tensor) -> Tensor:
    """Log of the policy proportional to reference * exp(tilt)."""
    return (reference.log() + tilt).log_softmax(dim=-1)


def pairs(
    reference: Tensor,
    sampler: Tensor,
    preference: Tensor,
    columns: Mapping[str, tuple[Tensor, str]] | None = None,
) -> Population:
    """Answers drawn in pairs from `sampler` and labelled by `preference`; one token each.

    `columns` gives each column's value per answer and the side, "winner" or "loser", that it describes.
    """
    every = torch.arange(len(reference))
    winner, loser = (grid.flatten() for grid in torch.meshgrid(every, every, indexing="ij"))
    index = {"winner": winner, "loser": loser}
    weight = sampler[winner] * sampler[loser] * preference.flatten()
    length = torch.ones_like(winner)

    def population(policy: Tensor) -> tuple[Batch, Tensor]:
        batch = PairLogps(
            chosen=policy[winner],
            rejected=policy[loser],
            ref_chosen=reference.log()[winner],
            ref_rejected=reference.log()[loser],
            chosen_length=length,
            rejected_length=length,
            columns={name: values[index[side]] for name, (values, side) in (columns or {}).items()},
        )
        return batch, weight

    return population


def rewarded_pairs(
    sampler: Tensor, preference: Tensor, columns: Mapping[str, tuple[Tensor, str]] | None = None
) -> Population:
    """As `pairs`, for reward models. A table of log-probabilities is one of rewards, whose level is free."""
    labelled = pairs(torch.ones_like(sampler), sampler, preference, columns)

    def population(rewards: Tensor) -> tuple[Batch, Tensor]:
        batch, weight = labelled(rewards)
        return RewardScores(scores=torch.stack((batch.chosen, batch.rejected), dim=1), columns=batch.columns), weight

    return population


def rankings(truth: Tensor, size: int) -> Population:
    """Sets of `size` answers, all equally often, ranked by the Plackett-Luce model of the rewards `truth`."""
    orders = torch.tensor([*permutations(range(len(truth)), size)])
    utility = truth.exp()[orders]
    others = utility.sum(dim=1, keepdim=True) - utility.cumsum(dim=1) + utility  # of this set, not yet drawn
    weight = (utility / others).prod(dim=1)

    def population(rewards: Tensor) -> tuple[Batch, Tensor]:
        return RewardScores(scores=rewards[orders]), weight

    return population


def tokens(data: Tensor) -> Population:
    """One token after one context, drawn from `data`."""

    def population(policy: Tensor) -> tuple[Batch, Tensor]:
        return TokenLogps(logps=policy[None], mask=torch.ones_like(policy[None], dtype=bool)), data[None]

    return population


def groups(reference: Tensor, reward: Tensor, size: int, sampler: Tensor | None = None) -> Population:
    """Groups of `size` one-token answers, drawn from `sampler`, or from the policy itself, then the old one."""
    drawn = torch.tensor([*product(range(len(reward)), repeat=size)])

    def population(policy: Tensor) -> tuple[Batch, Tensor]:
        logps, ref = policy[drawn][..., None], reference.log()[drawn][..., None]
        batch = GroupLogps(
            logps=logps,
            old_logps=None if sampler is None else ref,
            ref_logps=ref,
            mask=torch.ones_like(logps, dtype=torch.bool),
            rewards=reward[drawn],
        )
        source = policy.detach().exp() if sampler is None else sampler
        return batch, source[drawn].prod(dim=1)

    return population


def expected_gradient(objective: Objective, population: Population, logits: Tensor) -> Tensor:
    """Gradient by the logits of the exact expectation of the objective's terms."""
    logits = logits.detach().requires_grad_()
    batch, probability = population(logits.log_softmax(dim=-1))
    return torch.autograd.grad((probability * objective(batch).terms).sum(), logits)[0]


def settle(objective: Objective, population: Population, start: Tensor, steps: int = 300) -> tuple[Tensor, Tensor]:
    """Logits at which gradient descent from `start` comes to rest, and the Jacobian of the gradient there.

    A zero of the gradient is sought, not a minimum of the value: with detached factors these differ. Implicit steps
    along the descent direction, longer as the gradient vanishes, turn into Newton's method at the end. The row means
    are added to the gradient, because softmax leaves them free.
    """

    def field(flat: Tensor) -> Tensor:
        logits = flat.view(start.shape)
        free = logits.mean(dim=-1, keepdim=True).expand_as(logits)
        return (expected_gradient(objective, population, logits) + free).flatten()

    logits = (start - start.mean(dim=-1, keepdim=True)).flatten()
    identity = torch.eye(logits.numel(), dtype=logits.dtype)
    for _ in range(steps):
        slope = field(logits)
        jacobian = _jacobian(field, logits)
        if slope.norm() < 1e-13:
            break
        logits = logits - torch.linalg.solve(jacobian + slope.norm() * identity, slope)
    assert slope.norm() < 1e-11, f"still moving after {steps} steps: gradient {slope.norm():.1e}"
    return logits.view(start.shape), jacobian


def _jacobian(field: Callable[[Tensor], Tensor], point: Tensor, step: float = 1e-5) -> Tensor:
    """By central differences: autograd would take detached factors for constants."""
    moves = step * torch.eye(point.numel(), dtype=point.dtype)
    return torch.stack([(field(point + move) - field(point - move)) / (2 * step) for move in moves], dim=1)

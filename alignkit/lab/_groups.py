"""Groups of one-token answers, all that can be drawn, and the weight that an objective gives to a prompt."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from alignkit.lab._tabular import Population
from alignkit.objectives import GroupLogps, Objective


@dataclass(frozen=True, kw_only=True)
class Groups(Population):
    """Every ordered group of `size` answers. They come from `sampler`, or from the policy, then the old one."""

    ref: Tensor  # (n,) probabilities; also the old policy where there is a sampler
    reward: Tensor  # (n,)
    size: int
    sampler: Tensor | None = None  # (n,) probabilities

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.ref.shape)

    def drawn(self) -> Tensor:
        """Indices of the answers, (n^G, G)."""
        return torch.tensor([*product(range(len(self.ref)), repeat=self.size)])

    def weights(self) -> Tensor:
        if self.sampler is None:
            raise ValueError("the policy answers: how likely a group is depends on it")
        return self.sampler[self.drawn()].prod(dim=1)

    def batch(self, policies: Tensor) -> GroupLogps:
        drawn = self.drawn()
        logps = policies[:, drawn].flatten(0, 1)[..., None]
        ref = self.ref.log()[drawn].repeat(len(policies), 1)[..., None]
        return GroupLogps(
            logps=logps,
            old_logps=None if self.sampler is None else ref,
            ref_logps=ref,
            mask=torch.ones_like(logps, dtype=torch.bool),
            rewards=self.reward[drawn].repeat(len(policies), 1),
        )

    def losses(self, objective: Objective, policies: Tensor) -> Tensor:
        if self.sampler is not None:
            return super().losses(objective, policies)
        chances = policies.detach().exp()[:, self.drawn()].prod(dim=2)
        return (objective(self.batch(policies)).terms.view(len(policies), -1) * chances).sum(dim=1)


def prompt_weight(objective: Objective, share: float, size: int) -> float:
    """Expected gradient by the log-odds of a prompt whose answers are right with probability `share`, per answer.

    Groups of `size` answers from the policy itself, one for each number of right answers, weighted by its probability.
    """
    right = torch.arange(size) < torch.arange(size + 1)[:, None]  # (size + 1, size)
    logit = torch.tensor(share, dtype=torch.float64).logit().requires_grad_()
    logps = torch.where(right, torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit))
    batch = GroupLogps(
        logps=logps[..., None], mask=torch.ones(*right.shape, 1, dtype=torch.bool), rewards=right.double()
    )
    result = objective(batch)
    number = torch.arange(size + 1, dtype=torch.float64)
    odds = torch.distributions.Binomial(size, logits=logit.detach()).log_prob(number).exp()
    loss = (odds * result.terms).sum() * len(right) / result.count  # terms of one prompt over what it counts
    return -torch.autograd.grad(loss, logit)[0].item()

"""Over-optimisation in its plainest form: answers are points, and the gold reward has a knee that data seldom show."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.studies._worlds import Answers

DIMENSIONS = 8
KNEE = 1.6  # standard deviations of a coordinate beyond which the gold reward falls
HIDDEN = 32


@dataclass(frozen=True, kw_only=True)
class Features:
    """A `World` whose policy is a standard Gaussian; its prompts do not matter.

    gold(x) = v . tanh(W x) - sum_d max(0, |x_d| - 1.6), with v and W drawn anew for every seed.
    """

    prompts: int
    count: int  # answers to each

    def __call__(self, seed: int) -> Answers:
        generator = torch.Generator().manual_seed(seed)
        hidden = torch.randn(DIMENSIONS, HIDDEN, generator=generator) / math.sqrt(DIMENSIONS)
        output = torch.randn(HIDDEN, generator=generator) / math.sqrt(HIDDEN)
        points = torch.randn(self.prompts, self.count, DIMENSIONS, generator=generator)
        return Answers(features=points, gold=gold(points, hidden, output))


def gold(points: Tensor, hidden: Tensor, output: Tensor) -> Tensor:
    return (points @ hidden).tanh() @ output - (points.abs() - KNEE).clamp(min=0).sum(dim=-1)

"""What an objective is: a frozen dataclass of hyperparameters whose call is the method's formula.

One object serves three readers. A trainer sums `terms` over micro-batches and ranks and divides by the sum of
`count`; the lab weights `terms` by exact probabilities; a test compares them one by one. So terms stay unreduced.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from alignkit.objectives._batches import (
    Batch,
    GroupLogps,
    PairLogps,
    RevisionLogps,
    RewardScores,
    TokenLogps,
    UnpairedLogps,
)


@dataclass(frozen=True)
class Loss:
    """A loss before reduction: `terms.sum() / count`.

    terms     (B,) for pairs, (B, T) for tokens, (P,) for groups; dtype of the batch
    count     what the method divides by (pairs, tokens, ...), an integer scalar. It depends on shapes, masks and
              columns only, never on log-probabilities, so that a trainer knows it before the first backward pass.
    metrics   detached; one value per example, or a scalar
    """

    terms: Tensor
    count: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(ABC):
    """Base of all objectives. Subclasses are frozen dataclasses: pure, without devices, dtype casts or collectives."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    batch: ClassVar[type[Batch]]
    not_here: ClassVar[Mapping[str, str]] = {}  # {hyperparameter or value one may ask for: what to do instead}

    @property
    def needs_reference(self) -> bool:
        """Whether the batch must hold reference log-probabilities. May depend on the hyperparameters."""
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        """Data columns read from `batch.columns`. May depend on the hyperparameters."""
        return ()

    def statistics(self, batch: Any) -> Mapping[str, tuple[Tensor, Tensor]]:
        """{name: (sum, count)} of what the formula needs to know about the whole batch; scalars.

        A trainer adds them up over the micro-batch on all ranks and hands them back, detached, in `batch.statistics`.
        With gradient accumulation the split into micro-batches then matters, as it does in the official codes.
        """
        return {}

    @abstractmethod
    def __call__(self, batch: Any) -> Loss:
        """The formula, unreduced."""

    def loss(self, batch: Any) -> Tensor:
        """The paper's reduction of this one batch, a scalar. An empty batch gives 0."""
        result = self(batch)
        return result.terms.sum() / result.count.clamp(min=1)

    def _mean(self, name: str, batch: Batch) -> Tensor:
        """Mean of a statistic, without gradient: from `batch.statistics` or, where absent, from this batch."""
        given = self.statistics(batch) if batch.statistics is None else batch.statistics
        total, count = given[name]
        return (total / count.clamp(min=1)).detach()


class PairObjective(Objective):
    """Learns from a chosen and a rejected answer; reads `PairLogps`, returns (B,) terms, counts pairs."""

    batch: ClassVar[type[Batch]] = PairLogps

    @property
    def needs_reference(self) -> bool:
        return True

    @abstractmethod
    def __call__(self, batch: PairLogps) -> Loss: ...


class TokenObjective(Objective):
    """Learns from every token of a text; reads `TokenLogps`, returns (B, T) terms."""

    batch: ClassVar[type[Batch]] = TokenLogps

    @abstractmethod
    def __call__(self, batch: TokenLogps) -> Loss: ...


class UnpairedObjective(Objective):
    """Learns from answers that are desirable or not; reads `UnpairedLogps`, returns (B,) terms, counts answers."""

    batch: ClassVar[type[Batch]] = UnpairedLogps

    @property
    def needs_reference(self) -> bool:
        return True

    @abstractmethod
    def __call__(self, batch: UnpairedLogps) -> Loss: ...


class RevisionObjective(Objective):
    """Learns to answer and to revise from pairs; reads `RevisionLogps`, returns (B,) terms, counts pairs."""

    batch: ClassVar[type[Batch]] = RevisionLogps

    @property
    def needs_reference(self) -> bool:
        return True

    @abstractmethod
    def __call__(self, batch: RevisionLogps) -> Loss: ...


class RewardObjective(Objective):
    """Trains a reward model on rankings; reads `RewardScores`, returns (P,) terms, counts rankings of two or more."""

    batch: ClassVar[type[Batch]] = RewardScores
    pairs_only: ClassVar[bool] = True  # False: rankings of any length

    @abstractmethod
    def __call__(self, batch: RewardScores) -> Loss: ...


class GroupObjective(Objective):
    """Learns from the rewards of several answers to each prompt; reads `GroupLogps`, returns (P,) terms."""

    batch: ClassVar[type[Batch]] = GroupLogps

    @property
    def needs_entropies(self) -> bool:
        """Whether the policy's entropies must have a gradient; without one a batch always holds them."""
        return False

    @property
    def counts_micro_batch(self) -> bool:
        """Whether the method divides by what its micro-batch holds, not by what the whole generation does."""
        return False

    @property
    def inert_on_policy(self) -> str:
        """What does nothing until the policy has left the one that answered; empty if nothing is."""
        return ""

    @property
    def asks_of_rewards(self) -> str:
        """What every reward must be, for messages."""
        return "rewards must be finite numbers"

    def unusable(self, rewards: Tensor) -> Tensor:
        """Which rewards are not that, bool of the same shape."""
        return ~rewards.isfinite()

    def reward_statistics(self, rewards: Tensor) -> Mapping[str, tuple[Tensor, Tensor]]:
        """{name: (sum, count)} of what the formula needs to know about the rewards of a whole generation.

        A trainer takes them once for all answers of all ranks; `statistics` takes them from one batch.
        """
        return {}

    def statistics(self, batch: GroupLogps) -> Mapping[str, tuple[Tensor, Tensor]]:
        return self.reward_statistics(batch.rewards)

    @abstractmethod
    def __call__(self, batch: GroupLogps) -> Loss: ...

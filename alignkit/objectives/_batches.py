"""What objectives read: one frozen batch per shape, tensors only.

Log-probabilities are in nats. Every batch takes two optional fields:

    columns      extra data columns an objective asked for, by name, one value per row
    statistics   {name: (sum, count)} over a larger batch than this one, detached; see `Objective.statistics`
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the batches share."""

    columns: Mapping[str, Tensor] = field(default_factory=dict)
    statistics: Mapping[str, tuple[Tensor, Tensor]] | None = None

    def column(self, name: str, like: Tensor) -> Tensor:
        """A data column, (B,), in the dtype of the log-probabilities `like`, (B, ...).

        ValueError names the columns there are, or the shape: (B, 1) would broadcast to (B, B) without a word.
        """
        if name not in self.columns:
            raise ValueError(f"column {name!r} is not in the batch; it has {sorted(self.columns) or 'no columns'}")
        column = self.columns[name]
        if column.shape != like.shape[:1]:
            raise ValueError(f"column {name!r} has shape {tuple(column.shape)}; expected {tuple(like.shape[:1])}")
        return column.to(like.dtype)  # integer scores must not pull float64 down to float32

    def _same_shape(self, shape: torch.Size) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor) and value.shape != shape:
                raise ValueError(
                    f"{type(self).__name__}.{item.name} has shape {tuple(value.shape)}; expected {tuple(shape)}"
                )


@dataclass(frozen=True, kw_only=True)
class PairLogps(Batch):
    """A chosen and a rejected answer to the same prompt. Tensors are (B,).

    Log-probabilities are sums over the tokens of the answer. References may be absent where the objective has none,
    lengths where it does not divide by them.
    """

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor | None = None
    ref_rejected: Tensor | None = None
    chosen_length: Tensor | None = None  # tokens
    rejected_length: Tensor | None = None

    def __post_init__(self) -> None:
        if self.chosen.ndim != 1:
            raise ValueError(f"PairLogps.chosen has shape {tuple(self.chosen.shape)}; expected (B,)")
        self._same_shape(self.chosen.shape)

    def references(self) -> tuple[Tensor, Tensor]:
        """log ref(y) of the chosen and of the rejected answers, (B,) each."""
        if self.ref_chosen is None or self.ref_rejected is None:
            raise ValueError("this objective compares with a reference: give ref_chosen and ref_rejected")
        return self.ref_chosen, self.ref_rejected

    def log_ratios(self) -> tuple[Tensor, Tensor]:
        """log pi(y) / ref(y) of the chosen and of the rejected answers, (B,) each."""
        ref_chosen, ref_rejected = self.references()
        return self.chosen - ref_chosen, self.rejected - ref_rejected

    def lengths(self) -> tuple[Tensor, Tensor]:
        """Tokens of the chosen and of the rejected answers, at least 1 so that one can divide, (B,) each."""
        if self.chosen_length is None or self.rejected_length is None:
            raise ValueError("averaging over tokens needs chosen_length and rejected_length")
        return self.chosen_length.clamp(min=1), self.rejected_length.clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class TokenLogps(Batch):
    """Every token of B texts. `logps` and `mask` are (B, T); the mask says which tokens are trained."""

    logps: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.logps.ndim != 2:
            raise ValueError(f"TokenLogps.logps has shape {tuple(self.logps.shape)}; expected (B, T)")
        self._same_shape(self.logps.shape)


@dataclass(frozen=True, kw_only=True)
class UnpairedLogps(Batch):
    """Single answers with a thumb up or down. Tensors are (B,), `kl` is a scalar.

    Log-probabilities are sums over the tokens of the answer.
    """

    policy: Tensor
    ref: Tensor
    desirable: Tensor  # bool
    kl: Tensor  # mean of log pi/ref over answers to other prompts, (); may be negative, the objective clamps it

    def __post_init__(self) -> None:
        if self.policy.ndim != 1 or not self.policy.shape == self.ref.shape == self.desirable.shape:
            shapes = [tuple(value.shape) for value in (self.policy, self.ref, self.desirable)]
            raise ValueError(f"UnpairedLogps wants policy, ref and desirable of one shape (B,); got {shapes}")
        if self.kl.ndim != 0:
            raise ValueError(f"UnpairedLogps.kl has shape {tuple(self.kl.shape)}; expected a scalar")


@dataclass(frozen=True, kw_only=True)
class RevisionLogps(Batch):
    """A pair of answers, each also read as a revision of either. Tensors are (B,).

    `a_given_b` is the log-probability of answer a under the prompt that asks to improve on answer b. All are sums over
    the tokens of the answer; every one has its twin under the reference.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_given_rejected: Tensor
    rejected_given_rejected: Tensor
    chosen_given_chosen: Tensor
    rejected_given_chosen: Tensor
    ref_chosen: Tensor
    ref_rejected: Tensor
    ref_chosen_given_rejected: Tensor
    ref_rejected_given_rejected: Tensor
    ref_chosen_given_chosen: Tensor
    ref_rejected_given_chosen: Tensor

    def __post_init__(self) -> None:
        if self.chosen.ndim != 1:
            raise ValueError(f"RevisionLogps.chosen has shape {tuple(self.chosen.shape)}; expected (B,)")
        self._same_shape(self.chosen.shape)

    def log_ratio(self, name: str) -> Tensor:
        """log pi/ref of one of the six, by its field's name, (B,)."""
        return getattr(self, name) - getattr(self, f"ref_{name}")


@dataclass(frozen=True, kw_only=True)
class RewardScores(Batch):
    """Rewards of P rankings of up to K answers to the same prompt, best first. Tensors are (P, K).

    A pair is a ranking of two. Rankings of different lengths share a batch: the mask is true where an answer is, and
    what lies elsewhere reaches neither the value nor the gradient. Without a mask all rankings have K answers.
    """

    scores: Tensor
    mask: Tensor | None = None  # bool

    def __post_init__(self) -> None:
        if self.scores.ndim != 2:
            raise ValueError(f"RewardScores.scores has shape {tuple(self.scores.shape)}; expected (P, K)")
        self._same_shape(self.scores.shape)

    def ranked(self) -> tuple[Tensor, Tensor]:
        """Scores, 0 where no answer is, and the mask; (P, K) each."""
        mask = torch.ones_like(self.scores, dtype=torch.bool) if self.mask is None else self.mask.bool()
        return torch.where(mask, self.scores, 0), mask

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Scores of the chosen and of the rejected answers, (P,) each. ValueError unless K = 2."""
        if self.scores.shape[1] != 2:
            raise ValueError(f"this objective learns from pairs, not from {self.scores.shape[1]} ranked answers")
        scores, _ = self.ranked()
        return scores[:, 0], scores[:, 1]


@dataclass(frozen=True, kw_only=True)
class GroupLogps(Batch):
    """G answers to each of P prompts, T tokens long at most. Tensors are (P, G, T), `rewards` is (P, G).

    A group is an axis. The mask is true on trained tokens; what lies elsewhere reaches neither the value nor the
    gradient. G counts every answer to a prompt: a group is never split over batches.
    """

    logps: Tensor
    mask: Tensor
    rewards: Tensor
    old_logps: Tensor | None = None  # of the policy before its first update on these answers; None: this one
    ref_logps: Tensor | None = None
    entropies: Tensor | None = None  # nats, of the policy's next token
    sampler_ratios: Tensor | None = None  # old policy / what drew the answers, capped; (P, G, T) or (P, G, 1)

    def __post_init__(self) -> None:
        if self.logps.ndim != 3:
            raise ValueError(f"GroupLogps.logps has shape {tuple(self.logps.shape)}; expected (P, G, T)")
        prompts, answers, tokens = self.logps.shape
        expected: dict[str, list[tuple[int, ...]]] = {
            "rewards": [(prompts, answers)],
            "sampler_ratios": [(prompts, answers, n) for n in (tokens, 1)],
        }
        for item in fields(self):
            value, shapes = getattr(self, item.name), expected.get(item.name, [(prompts, answers, tokens)])
            if isinstance(value, Tensor) and tuple(value.shape) not in shapes:
                raise ValueError(f"GroupLogps.{item.name} has shape {tuple(value.shape)}; expected {shapes[0]}")

    def log_ratios(self) -> Tensor:
        """log pi / old of every trained token, 0 elsewhere, (P, G, T)."""
        old = self.logps.detach() if self.old_logps is None else self.old_logps
        return self.trained(self.logps - old)

    def ref_log_ratios(self) -> Tensor:
        """log pi / ref of every trained token, 0 elsewhere, (P, G, T)."""
        if self.ref_logps is None:
            raise ValueError("this objective compares with a reference: give ref_logps")
        return self.trained(self.logps - self.ref_logps)

    def trained(self, values: Tensor) -> Tensor:
        """`values`, (P, G, T), and 0 where the mask is."""
        return torch.where(self.mask.bool(), values, 0)

    def token_means(self, values: Tensor) -> Tensor:
        """Mean of `values`, (P, G, T), over the trained tokens of each answer, (P, G); 0 where there are none."""
        return self.trained(values).sum(dim=2) / self.mask.bool().sum(dim=2).clamp(min=1)

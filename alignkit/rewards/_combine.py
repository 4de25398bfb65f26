"""What a rule is: a frozen dataclass of hyperparameters whose call makes one score of many."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor


class Combine(ABC):
    """Base of all rules. Subclasses are frozen dataclasses; scores that are NaN give NaN."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __call__(self, scores: Tensor) -> Tensor:
        """One score per answer, (N,), from those of M members, (M, N).

        Raises:
            ValueError: another shape, no members, or scores that are not floating point.
        """
        if scores.ndim != 2 or not len(scores):
            raise ValueError(f"scores have shape {tuple(scores.shape)}; expected (members, answers), at least 1 member")
        if not scores.is_floating_point():
            raise ValueError(f"scores are {scores.dtype}; give them as floating point")
        return self.combined(scores)

    @abstractmethod
    def combined(self, scores: Tensor) -> Tensor:
        """The formula, (M, N) to (N,)."""


def not_negative(coefficient: float) -> None:
    """Refuse coefficients that would reward disagreement, and numbers that are none."""
    if not 0 <= coefficient < float("inf"):
        raise ValueError(f"coefficient = {coefficient} must be a finite number from 0 up; 0 is the mean")

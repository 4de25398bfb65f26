"""Several rewards as one: their scores, put on one scale and combined, and how far they disagree."""

import inspect
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from alignkit.rewards._combine import Combine
from alignkit.rewards._reward import Reward, RewardError, Text, shown

logger = logging.getLogger(__name__)

Normalise = Literal["none", "zscore"]
OnFailure = Literal["error", "drop"]
FILE = "calibration.json"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Statistics of a member's scores on data that are set aside for it, never of the batch that is scored."""

    mean: float
    std: float  # the population's
    count: int  # answers

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.std < float("inf")):
            raise ValueError(f"scores with mean {self.mean} and standard deviation {self.std} give no scale")

    @classmethod
    def of(cls, scores: Tensor) -> "Calibration":
        """From a member's scores of calibration data, (N,)."""
        scores = scores.double()
        return cls(mean=scores.mean().item(), std=scores.std(correction=0).item(), count=len(scores))

    @classmethod
    def read(cls, folder: Path) -> "Calibration":
        """What was saved with a member. ValueError if nothing was."""
        file = folder / FILE
        if not file.is_file():
            raise ValueError(
                f"{folder} holds no {FILE}; run alignkit reward calibrate RECIPE, or write normalise: none"
            )
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def applied(self, scores: Tensor) -> Tensor:
        return (scores - self.mean) / self.std


@dataclass(frozen=True, kw_only=True)
class Member:
    """A reward under a name."""

    name: str
    reward: Reward
    calibration: Calibration | None = None
    weight: float = 1.0  # in a mean, relative to the other members'


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an ensemble says of N answers."""

    scores: Tensor  # (N,), combined
    members: Mapping[str, Tensor]  # by name, (N,) each, on the common scale; without those that were dropped
    dropped: Mapping[str, str]  # by name: why

    def metrics(self) -> dict[str, float]:
        """Means over the answers: of each member, of the disagreement, and how often each member decides.

        A member decides where its score is the nearest to the combined one: under `worst` it is the lowest.
        """
        table = torch.stack([*self.members.values()])
        decides = (table - self.scores).abs().argmin(dim=0)
        found = {
            "rewards/combined/mean": self.scores.mean(),
            "rewards/disagreement/std": table.std(dim=0, correction=0).mean(),
            "rewards/disagreement/range": (table.amax(dim=0) - table.amin(dim=0)).mean(),
            "rewards/dropped_members": torch.tensor(len(self.dropped)),
        }
        for number, (name, scores) in enumerate(self.members.items()):
            found[f"rewards/{name}/mean"] = scores.mean()
            found[f"rewards/{name}/std"] = scores.std(correction=0)
            found[f"rewards/{name}/decides"] = (decides == number).float().mean()
        return {name: value.item() for name, value in found.items()}


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A `Reward` of several members under a rule.

    Raises:
        ValueError: no members, two of one name, or a member without calibration where scores are normalised.
    """

    members: Sequence[Member]
    combine: Combine
    normalise: Normalise = "none"
    on_member_failure: OnFailure = "error"  # drop: go on without the member in this call, and say so

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names:
            raise ValueError("an ensemble needs at least one member")
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"two members are called {twice[0]!r}; give each a name of its own")
        bare = [member.name for member in self.members if member.calibration is None]
        if self.normalise == "zscore" and bare:
            raise ValueError(
                f"member {bare[0]!r} has no calibration, which normalise: zscore needs; "
                "run alignkit reward calibrate RECIPE"
            )

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor:
        return self.judge(prompts, completions, **columns).scores

    def judge(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Verdict:
        """The combined scores with those of the members.

        Raises:
            RewardError: a member failed (unless such are dropped), or all did.
        """
        found: dict[str, Tensor] = {}
        dropped: dict[str, str] = {}
        for member in self.members:
            try:
                found[member.name] = self._scores(member, prompts, completions, columns)
            except RewardError as error:
                if self.on_member_failure == "error":
                    raise
                logger.warning("%s; the other members go on without it", error)
                dropped[member.name] = str(error)
        if not found:
            raise RewardError(f"every member failed: {'; '.join(dropped.values())}")
        weights = torch.tensor([member.weight for member in self.members if member.name in found])
        table = torch.stack([*found.values()]) * (weights / weights.mean())[:, None]  # whose mean is the weighted one
        return Verdict(scores=self.combine(table), members=found, dropped=dropped)

    def _scores(
        self, member: Member, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any]
    ) -> Tensor:
        try:
            scores = torch.as_tensor(_numbers(member.reward(prompts, completions, **columns))).float().cpu()
        except Exception as error:  # models, users' functions and servers raise anything
            where = _culprit(member.reward, prompts, completions, columns)
            raise RewardError(f"member {member.name!r} failed: {type(error).__name__}: {error}{where}") from error
        if scores.shape != (len(completions),):
            expected = f"expected ({len(completions)},)"
            raise RewardError(f"member {member.name!r} gave scores of shape {tuple(scores.shape)}; {expected}")
        if len(bad := (~scores.isfinite()).nonzero()):
            number = int(bad[0])
            answer = shown(completions[number])
            raise RewardError(f"member {member.name!r} gives example {number} the score {scores[number]}: {answer}")
        return member.calibration.applied(scores) if self.normalise == "zscore" and member.calibration else scores


def _numbers(scores: Any) -> Any:
    """Scores in which None, which some functions give for "no opinion", is NaN."""
    return [float("nan") if score is None else score for score in scores] if isinstance(scores, list) else scores


def _culprit(reward: Reward, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any]) -> str:
    """The first example on which a function fails alone; models and servers, for which it would cost, are not asked."""
    if not inspect.isroutine(reward):
        return ""
    for number in range(len(completions)):
        one = slice(number, number + 1)
        try:
            reward(prompts[one], completions[one], **{name: values[one] for name, values in columns.items()})
        except Exception:
            return f"; example {number}: {shown(completions[number])}"
    return ""

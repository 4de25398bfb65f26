"""What a recipe says about its reward: the `reward:` section."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import ClassVar
from urllib.parse import urlsplit

from alignkit.lookup import did_you_mean
from alignkit.models.spec import Precision
from alignkit.remote import Endpoint
from alignkit.rewards import Combine, find, make
from alignkit.rewards._rule import Rule
from alignkit.rewards.ensemble import Calibration, Normalise, OnFailure


@dataclass(frozen=True, kw_only=True)
class MemberSpec:
    """One reward of several; each kind has the key that `KINDS` names."""

    name: str | None = None  # by which metrics and errors call the member; unset: what it is made of
    weight: float = 1.0  # in combine: mean, which divides by the sum of weights; of an ensemble: of each of its members
    calibration: Calibration | None = (
        None  # for normalise: zscore, where no folder holds it; {mean: M, std: S, count: N}
    )

    @property
    def label(self) -> str:
        """The name, or the one that follows from what the member is made of."""
        return self.name or self._made_of()

    def _made_of(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ModelMember(MemberSpec):
    """A reward model."""

    model: str  # folder or Hub id of a reward model, or of an adapter that is one
    revision: str | None = None  # branch, tag or commit of a Hub id; unset: main
    precision: Precision = "auto"  # number format of the computation
    max_length: int | None = None  # tokens of prompt and answer, the end is kept; unset: as many as the model reads
    batch_tokens: int = 16384  # tokens read at once, padding counted

    def __post_init__(self) -> None:
        _at_least_one(max_length=self.max_length, batch_tokens=self.batch_tokens)

    def _made_of(self) -> str:
        return PurePath(self.model).name


@dataclass(frozen=True, kw_only=True)
class FunctionMember(MemberSpec):
    """A Python function that is called with (prompts, completions, **columns)."""

    function: str  # module.name, in an installed package or beside the recipe

    def __post_init__(self) -> None:
        if "." not in self.function:
            raise ValueError(f"function = {self.function!r} names no module; write module.{self.function}")

    def _made_of(self) -> str:
        return self.function.rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class RuleMember(MemberSpec):
    """A rule of `alignkit.rewards.rules`; a recipe writes its name as `rule`, its hyperparameters beside it."""

    rule: Rule

    def _made_of(self) -> str:
        return type(self.rule).__module__.rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class RemoteMember(MemberSpec, Endpoint):
    """A server that scores: {prompts, completions} goes there as JSON, and {scores: [...]} comes back."""

    url: str = field()  # to which requests are posted
    batch: int = 64  # answers of one request
    columns: tuple[str, ...] = ()  # of the data, which are sent along

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(batch=self.batch)

    def _made_of(self) -> str:
        return urlsplit(self.url).netloc


@dataclass(frozen=True, kw_only=True)
class JudgeMember(MemberSpec, Endpoint):
    """A language model that rates answers from 1 to 10, at a server that speaks OpenAI's protocol."""

    judge: str  # name of the model at the server
    criteria: str | None = None  # what makes an answer good, in words for the judge; unset: helpful, correct and clear
    reference: str | None = None  # data column with a correct answer, which the judge is shown
    max_tokens: int = 2048  # of a reply
    temperature: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(max_tokens=self.max_tokens)

    def _made_of(self) -> str:
        return self.judge


@dataclass(frozen=True, kw_only=True)
class EnsembleMember(MemberSpec):
    """All members of an ensemble that a recipe trained, in one line; each has its calibration in its folder."""

    ensemble: str  # output folder of a recipe with ensemble:
    precision: Precision = "auto"  # number format of the computation
    max_length: int | None = None  # tokens of prompt and answer, the end is kept; unset: as many as the model reads
    batch_tokens: int = 16384  # tokens read at once, padding counted

    def __post_init__(self) -> None:
        if self.calibration is not None:
            raise ValueError("calibration is of one member, and lies in its folder; remove it")
        _at_least_one(max_length=self.max_length, batch_tokens=self.batch_tokens)

    def _made_of(self) -> str:
        return PurePath(self.ensemble).name


KINDS: Mapping[str, type[MemberSpec]] = {
    "model": ModelMember,
    "function": FunctionMember,
    "rule": RuleMember,
    "judge": JudgeMember,
    "url": RemoteMember,
    "ensemble": EnsembleMember,
}


@dataclass(frozen=True, kw_only=True)
class RewardSpec:
    """Which rewards answers get, and how several make one."""

    COMBINED: ClassVar = "mean"  # the rule where `combine` is not written

    members: tuple[MemberSpec, ...]  # [{model: PATH}, {function: module.name}, {rule: NAME}, {judge: NAME}, {url: URL}]
    combine: Combine = field(default_factory=lambda: make(RewardSpec.COMBINED))  # rule that makes one score of many
    normalise: Normalise = "none"  # zscore: each member on the scale of its calibration data
    on_member_failure: OnFailure = "error"  # drop: go on without a member that fails, and say so

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("members is empty; write [{model: PATH}]")
        labels = [member.label for member in self.members]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"members: two are called {label!r}; give each a name of its own")
        for member in self.members:
            if not 0 < member.weight < float("inf"):
                raise ValueError(f"members: weight = {member.weight} of {member.label} must be a positive number")
            if member.weight != 1 and not isinstance(self.combine, find("mean")):
                raise ValueError(f"members: weight of {member.label} is for combine: mean; remove it, or write mean")


def kind_of(written: Mapping[str, object]) -> str:
    """The key that says what a member is. ValueError if there is none, or more than one."""
    found = [kind for kind in KINDS if kind in written and not (kind == "url" and "judge" in written)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"is {' and '.join(found)} at once; write a member for each")
    near = did_you_mean(str(next(iter(written), "")), KINDS)
    raise ValueError(f"does not say what it is{near}")


def _at_least_one(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} = {value} must be at least 1")

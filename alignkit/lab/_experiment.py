"""What an experiment is: a frozen dataclass of settings that computes rows, checks claims and draws a figure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from matplotlib.figure import Figure

from alignkit import lookup

Row = Mapping[str, Any]  # of JSON's scalars; None where a column does not apply


@dataclass(frozen=True)
class Claim:
    """One sentence that theory predicts, and whether the numbers bear it out."""

    text: str
    holds: bool
    measured: float


@dataclass(frozen=True)
class Result:
    """All that an experiment says: its settings, a table, and claims. Everything in it can be written as JSON."""

    experiment: str
    settings: Mapping[str, Any]
    rows: Sequence[Row]
    claims: Sequence[Claim]

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(claim.holds for claim in self.claims)


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """Base of all experiments. A subclass's docstring begins with what it shows; its defaults run in seconds."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    full: ClassVar[Mapping[str, Any]] = {}  # settings of the complete run, where they differ from the defaults

    @abstractmethod
    def rows(self) -> list[Row]:
        """The table, one row per setting; every row has the same keys."""

    @abstractmethod
    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        """What theory says about the rows."""

    @abstractmethod
    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """The rows as a picture."""

    def shown(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The table that is printed, where all rows are too many to read."""
        return rows

    def run(self) -> Result:
        """Compute the rows and check the claims."""
        rows = self.rows()
        return Result(type(self).__module__.rpartition(".")[2], asdict(self), rows, self.claims(rows))


def construct(cls: type[Experiment], full: bool, settings: Mapping[str, Any]) -> Experiment:
    """An experiment, quick unless `full`; where several numbers are wanted, one will do. ValueError on bad settings."""
    several = {field.name for field in fields(cls) if isinstance(field.default, tuple)}
    given = {k: (v,) if k in several and not isinstance(v, list | tuple) else v for k, v in settings.items()}
    return lookup.construct(cls, {**(cls.full if full else {}), **given})


def below(text: str, measured: float, bound: float) -> Claim:
    """The claim that a number is under a bound."""
    return Claim(f"{text} (below {bound:g})", measured < bound, measured)


def above(text: str, measured: float, bound: float) -> Claim:
    """The claim that a number is over a bound."""
    return Claim(f"{text} (above {bound:g})", measured > bound, measured)

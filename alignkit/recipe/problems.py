"""What is wrong with a recipe: each problem says where, what, and what to write instead."""

from collections.abc import Iterable
from dataclasses import dataclass, field

KeyPath = tuple[str | int, ...]  # ("data", "train", 0, "limit")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem, printed as `FILE:LINE: WHAT; INSTEAD`."""

    file: str  # the recipe as the user named it, or "override 'key=value'"
    line: int | None = None  # counted from 1; None where no line is to blame
    where: str = ""  # the key, as in train.learning_rate
    what: str
    instead: str = ""  # what to write instead
    excerpt: str = field(default="", compare=False, repr=False)  # the source line, and carets under the culprit

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.what}" + (f"; {self.instead}" if self.instead else "")


class RecipeError(ValueError):
    """A recipe that cannot be used, with all its problems. Its text has one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def report(self) -> str:
        """The problems, each followed by the line of the file that it is about."""
        parts = [str(p) + (f"\n{p.excerpt}" if p.excerpt else "") for p in self.problems]
        return "\n".join(parts)


def dotted(path: KeyPath) -> str:
    """Name of a key, as overrides write it: data.train.0.limit."""
    return ".".join(shown_key(str(key)) for key in path)


def shown_key(key: str) -> str:
    """A key that is safe to print on one line of a terminal."""
    short = key if len(key) <= 60 else key[:57] + "..."
    return short if short and short.isprintable() else repr(short)


def printable(text: str) -> str:
    """Text without control characters, which a terminal might obey."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def split_advice(text: str) -> tuple[str, str]:
    """The two halves of an error text such as `alpha = 0 must be positive; 1 is plain DPO`."""
    what, _, instead = " ".join(text.split()).partition("; ")
    return what, instead

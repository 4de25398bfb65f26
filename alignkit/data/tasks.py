"""Tasks that are made, not read: those of reasoning_gym, each drawn from a seed of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from alignkit.data.errors import DataError
from alignkit.data.files import Rows
from alignkit.data.spec import REASONING_GYM, Source


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """`count` tasks of one kind. The same numbers give the same tasks in every process."""

    name: str  # which kind, such as chain_sum
    options: Mapping[str, Any]  # how hard they are, by the library's names
    seed: int  # task i is drawn from seed + i
    count: int

    @classmethod
    def of(cls, source: Source) -> Tasks:
        """Those that a source asks for. Raises DataError if reasoning_gym has none such."""
        # Source refuses to do without a name and a limit
        found = cls(
            name=str(source.name), options=dict(source.options), seed=source.first_task, count=int(source.limit or 0)
        )
        found.made()
        return found

    @property
    def label(self) -> str:
        return f"{REASONING_GYM}[{self.name}, {self.seed} to {self.seed + self.count - 1}]"

    @property
    def fingerprint(self) -> str:
        """Of what the tasks follow from, the library's version included."""
        made_of = [self.name, sorted(self.options.items()), self.seed, self.count, _library().__version__]
        return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()

    def rows(self) -> Rows:
        """(place, row): the question as `prompt`, the `answer`, and `task`, from which it can be made again."""
        made = self.made()
        for number in range(self.count):
            entry = made[number]
            task = {**asdict(self), "number": number}
            yield (
                f"{REASONING_GYM}[{self.name}] task {self.seed + number}",
                {"prompt": entry["question"], "answer": entry["answer"], "task": task},
            )

    def made(self) -> Any:
        """The library's dataset."""
        library = _library()
        known = library.factory.DATASETS
        if self.name not in known:
            near = get_close_matches(self.name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known))}"
            raise DataError(f"{REASONING_GYM} has no tasks named {self.name!r}; {hint}")
        options = [field.name for field in fields(known[self.name][1]) if field.name not in ("seed", "size")]
        for option in self.options:
            if option not in options:
                near = get_close_matches(option, options, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(options) or 'none'}"
                raise DataError(f"{REASONING_GYM}: {self.name} has no option {option!r}; {hint}")
        try:
            return library.create_dataset(self.name, seed=self.seed, size=self.count, **self.options)
        except Exception as error:  # each kind of task checks its options in its own way, most by assert
            raise DataError(f"{REASONING_GYM}: {self.name} with {dict(self.options)}: {error}") from error


def _library() -> Any:
    try:
        import reasoning_gym  # takes seconds
    except ImportError:
        raise DataError(f"source: {REASONING_GYM} needs its library; pip install 'alignkit[rl]'") from None
    return reasoning_gym

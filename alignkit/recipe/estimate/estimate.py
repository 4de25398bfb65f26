"""Memory and time of a run, as `alignkit check` says them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from datasets.utils import disable_progress_bars, enable_progress_bars, is_progress_bar_enabled

from alignkit.objectives import GroupObjective
from alignkit.recipe.estimate.activations import working_memory
from alignkit.recipe.estimate.memory import Memory, Zero, count, memory
from alignkit.recipe.estimate.pace import pace
from alignkit.recipe.preview import Preview
from alignkit.recipe.schema import Recipe


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will need. Where something could not be found out it says why."""

    memory: Memory | str  # of one process, at its peak
    seconds: float | str  # of an optimiser step on this machine

    def rows(self, steps: int) -> list[tuple[str, str]]:
        """Name and value of the lines that `alignkit check` prints, for a run of so many steps."""
        return [("memory a process", self._memory()), ("time", self._time(steps))]

    def _memory(self) -> str:
        if isinstance(self.memory, str):
            return f"not estimated: {self.memory}"
        parts = {field.name: getattr(self.memory, field.name) for field in fields(self.memory)}
        named = ", ".join(f"{name} {size(part)}" for name, part in parts.items() if part)
        return f"about {size(self.memory.peak)}: {named}"

    def _time(self, steps: int) -> str:
        if isinstance(self.seconds, str):
            return f"not estimated: {self.seconds}"
        return f"about {duration(self.seconds)} a step on this machine, {duration(self.seconds * steps)} in all"


def estimate(recipe: Recipe, preview: Preview, *, processes: int = 1, zero: Zero = 0, timed: bool = True) -> Estimate:
    """Count the memory of one of so many processes under DDP (`zero` 0) or ZeRO; time a few steps if `timed`."""
    if isinstance(recipe.objective, GroupObjective):
        reason = "the answers that are sampled while training have lengths that nobody knows before"
        return Estimate(memory=reason, seconds=reason)
    args = preview.args
    with quiet():
        model = tried(lambda: count(recipe, args))
        working = tried(lambda: working_memory(recipe, preview))
        speed = tried(lambda: pace(recipe, preview)) if timed else "left out"
    failed = next((found for found in (model, working) if isinstance(found, str)), None)
    where: Any = {"processes": processes, "zero": zero}
    return Estimate(
        memory=failed or memory(recipe, args, model, working, **where),
        seconds=speed if isinstance(speed, str) else speed.step(recipe, args, model, **where),
    )


def tried(find: Callable[[], Any]) -> Any:
    """What is found, or in one line why it is not: a model that cannot be traced keeps no recipe from its check."""
    try:
        return find()
    except Exception as error:  # whatever a model's own code raises
        lines = str(error).strip().splitlines()
        return lines[0] if lines and isinstance(error, ValueError) else f"{type(error).__name__} in the model's forward"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and the warnings of the trainers that are looked at: the run will say them."""
    shown = is_progress_bar_enabled()
    disable_progress_bars()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        if shown:
            enable_progress_bars()


def size(count: float) -> str:
    """Bytes in the largest unit of which there is one."""
    for unit, exponent in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**exponent:
            number = count / 2**exponent
            return f"{number:.3g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"

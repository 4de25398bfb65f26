"""A method in words, from the docstrings of its file."""

import inspect
import sys
from dataclasses import dataclass

from alignkit.objectives import Objective
from alignkit.recipe.schema import objective_name


@dataclass(frozen=True, kw_only=True)
class Method:
    """What the docstring of an objective says. Parts that somebody's own objective lacks are empty."""

    name: str  # as a recipe writes it
    title: str  # the method's name and what it is, in a line
    formula: str
    source: str  # the paper, and the equation in it

    @classmethod
    def of(cls, objective: Objective) -> "Method":
        """Objectives start with their formula and cite the paper after `Source:`; `tests/test_stems.py` insists."""
        kind = type(objective)
        written = kind.__dict__.get("__doc__") or ""
        documented = not written.startswith(f"{kind.__name__}(")  # else dataclasses wrote the signature there
        text = inspect.cleandoc(written) if documented else ""
        module = inspect.getdoc(sys.modules[kind.__module__]) or ""
        return cls(
            name=objective_name(objective),
            title=(module.splitlines() or [kind.__name__])[0].rstrip("."),
            formula=text.split("\n\n")[0],
            source=" ".join(text.partition("\nSource:")[2].split("\nDiffers")[0].split()),
        )

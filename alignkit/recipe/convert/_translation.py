"""A foreign file on its way to a recipe: keys are taken from one side and put on the other."""

from typing import Any

from alignkit.recipe.document import Document, Report


def texts(value: Any, key: str) -> list[str]:
    """A list of texts; a single one needs no list, and nothing is an empty one."""
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in listed):
        raise ValueError(f"{key} should be a list of text")
    return listed


class Translation:
    """What is left of a foreign file, the recipe so far, and the reasons for what was left out."""

    def __init__(self, document: Document) -> None:
        self.rest: dict[str, Any] = dict(document.data)
        self.recipe: dict[str, Any] = {}
        self.comments: list[str] = []  # lines for the top of the recipe
        self.report = Report(document)
        self._origins: dict[str, str] = {}

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a foreign key, which is thereby dealt with."""
        return self.rest.pop(key, default)

    def put(self, name: str, value: Any, key: str) -> None:
        """Write `name`, as in model.adapter.rank, for a foreign key."""
        *sections, last = name.split(".")
        holder = self.recipe
        for section in sections:
            holder = holder.setdefault(section, {})
        holder[last] = value
        self._origins[name] = key

    def leave(self, key: str, what: str, instead: str = "") -> None:
        """Say why a key was not carried over, or not as it was."""
        self.report.add((key,), f"{key}: {what}", instead.removesuffix("remove it").rstrip("; "))

    def origin(self, name: str) -> str:
        """The foreign key that `name`, or what it is part of, came from."""
        while name not in self._origins and "." in name:
            name = name.rpartition(".")[0]
        return self._origins.get(name, name)

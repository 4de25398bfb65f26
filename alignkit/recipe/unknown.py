"""A key that its section does not have: moved, written in the wrong section, or misspelt."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from alignkit.recipe.document import Report
from alignkit.recipe.moved_keys import moved
from alignkit.recipe.problems import KeyPath, dotted
from alignkit.recipe.spelling import advice


@dataclass(frozen=True)
class Unknown:
    """Reports unknown keys. `sections` maps each section, as in model.adapter, to the keys that it has."""

    report: Report
    sections: Mapping[str, Collection[str]]

    def __call__(self, key: str, path: KeyPath, choices: Collection[str]) -> None:
        if not self.report.full:  # looking for suggestions takes time
            self.report.add(path, *self._say(key, path, choices))

    def moved(self, key: str, path: KeyPath) -> tuple[str, str] | None:
        """What to say about a key that TRL knows and alignkit writes elsewhere; None for any other key."""
        value = self.report.document.data
        for step in path:
            value = value[step]
        return moved(key, path, value, self.sections["objective"])

    def _say(self, key: str, path: KeyPath, choices: Collection[str]) -> tuple[str, str]:
        where = dotted(path)
        if said := self.moved(key, path):
            return said
        for section, keys in self.sections.items():
            if key in keys:
                return f"{where} belongs in {section}", f"write {section}.{key}"
        return f"unknown key {where}", advice(key, choices)

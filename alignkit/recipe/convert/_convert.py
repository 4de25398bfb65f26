"""The conversion as a whole, and the check that its result loads."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignkit.recipe.convert._data import translate_data
from alignkit.recipe.convert._model import translate_model
from alignkit.recipe.convert._objective import translate_objective
from alignkit.recipe.convert._script import script_of
from alignkit.recipe.convert._train import translate_report, translate_train
from alignkit.recipe.convert._translation import Translation
from alignkit.recipe.dump import to_yaml
from alignkit.recipe.load import load
from alignkit.recipe.problems import Problem, RecipeError
from alignkit.recipe.yaml_source import read_yaml

# Sections in the order in which recipes are written; what is under these names is never left out to make it load.
_SECTIONS = ("objective", "model", "data", "train", "report")
_ESSENTIAL = ("objective", "model.path", "data.train")


@dataclass(frozen=True)
class Converted:
    """A recipe that loads, and what did not come along."""

    sections: Mapping[str, Any]  # local paths are absolute
    comments: Sequence[str]  # lines for its top
    left: Sequence[Problem]  # keys that were not carried over as they were, with the reason

    def to_yaml(self, folder: str | Path = ".") -> str:
        """The recipe as a file in `folder`: local data relative to it."""
        sections = deepcopy(dict(self.sections))
        for source in (*sections["data"]["train"], *sections["data"].get("eval", ())):
            if Path(source["source"]).is_absolute():
                source["source"] = Path(os.path.relpath(source["source"], folder)).as_posix()
        head = "".join(f"# {line}\n" for line in self.comments)
        return head + to_yaml(sections)


def convert(path: str | Path, script: str | None = None) -> Converted:
    """Turn a YAML file of TRL's scripts or of the alignment-handbook into a recipe.

    `script` says which script the file is for, where neither its name nor its keys do. Local paths in the file are
    taken relative to the working directory, as the scripts take them.

    Raises:
        ValueError: not such a file, a loss that no objective computes, or no model or data in it.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    document, _ = read_yaml(text, str(file))
    if not isinstance(document.data, dict):
        raise ValueError(f"{file} is no mapping of options to values")
    if isinstance(document.data.get("objective"), dict | str) and "model" in document.data:
        raise ValueError(f"{file} is a recipe already; see `alignkit check {file}`")
    script = script or script_of(file, document.data)
    translation = Translation(document)
    try:
        translate_objective(translation, script)
        translate_model(translation)
        translate_data(translation, script)
        translate_report(translation)
        translate_train(translation)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    _prune(translation, file)
    sections = {name: translation.recipe[name] for name in _SECTIONS if name in translation.recipe}
    comments = [f"Converted from {file.name} (TRL's {script} script) by alignkit convert.", *translation.comments]
    return Converted(sections, comments, list(translation.report.problems()))


def _prune(translation: Translation, file: Path) -> None:
    """Take out, with the reason, whatever the reader of recipes refuses.

    Raises:
        ValueError: it refuses something that a recipe cannot do without.
    """
    while problems := _problems(translation.recipe):
        spare = [problem for problem in problems if _remove(translation, problem)]
        if not spare:
            raise RecipeError(replace(problem, file=str(file), line=None, excerpt="") for problem in problems)


def _problems(recipe: Mapping[str, Any]) -> tuple[Problem, ...]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(to_yaml(recipe), encoding="utf-8")
        try:
            load(file)
        except RecipeError as error:
            return error.problems
    return ()


def _remove(translation: Translation, problem: Problem) -> bool:
    """Remove the key that a problem is about; False where it is essential or nobody can say which it is."""
    *sections, last = problem.where.split(".")
    holder: Any = translation.recipe
    for section in sections:
        holder = holder.get(section) if isinstance(holder, dict) else None
    if not sections or problem.where.startswith(_ESSENTIAL) or not isinstance(holder, dict) or last not in holder:
        return False
    del holder[last]
    what = problem.what.removeprefix(f"{problem.where} ")
    unknown = what == f"unknown key {problem.where}"
    translation.leave(translation.origin(problem.where), "is not known" if unknown else what, problem.instead)
    return True

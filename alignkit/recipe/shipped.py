"""Recipes that come with alignkit, found by name from a checkout and from an installed wheel alike."""

from pathlib import Path

import alignkit
from alignkit.recipe.problems import Problem, RecipeError, shown_key
from alignkit.recipe.spelling import advice

_SUFFIXES = (".yaml", ".yml")
_NO_RECIPES = ("accelerate",)  # folders under recipes/ with YAML of another kind


def recipes_folder() -> Path:
    """`recipes/` beside the package in a checkout; in a wheel the same files are inside the package."""
    package = Path(alignkit.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def shipped_recipes() -> list[str]:
    """Names of all shipped recipes: `dpo/tiny`, sorted."""
    root = recipes_folder()
    names = [path.relative_to(root).with_suffix("") for path in root.rglob("*") if path.suffix in _SUFFIXES]
    return sorted(name.as_posix() for name in names if name.parts[0] not in _NO_RECIPES)


def resolve_recipe(path: str | Path) -> Path:
    """The file of a recipe: a file on disk, or else a shipped one by name, with or without `recipes/` and `.yaml`.

    Raises:
        RecipeError: neither; suggests the nearest name.
    """
    file = Path(path).expanduser() if str(path).startswith("~/") else Path(path)
    if _is_file(file):
        return file
    name = str(path).removeprefix("recipes/")
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    names = shipped_recipes()
    if name in names:
        return next(found for suffix in _SUFFIXES if (found := recipes_folder() / f"{name}{suffix}").is_file())
    raise RecipeError([_unknown(file, str(path), name, names)])


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name that is too long
        return False


def _unknown(file: Path, path: str, name: str, names: list[str]) -> Problem:
    if len(path) < 1000 and file.is_dir():
        inside = sorted(entry.name for entry in file.iterdir() if entry.suffix in _SUFFIXES)
        instead = f"write {(file / inside[0]).as_posix()}" if inside else "write the file's name"
        return Problem(file=shown_key(path), what="is a folder", instead=instead)
    same_method = [known for known in names if known.split("/")[0] == name.split("/")[0]]
    instead = advice(name, names) or (f"choose from {', '.join(same_method[:12])}" if same_method else "")
    return Problem(file=shown_key(path), what="no such file, and no shipped recipe of that name", instead=instead)

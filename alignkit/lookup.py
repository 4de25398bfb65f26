"""Find classes by file name: the name `hdpo` in a package is the class in its file `hdpo.py`.

There is no registry to edit. A dotted name such as `mylab.losses.Focal` is a class of the user's own, from an installed
package or from a file beside the recipe.
"""

import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import logging
import pkgutil
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

logger = logging.getLogger(__name__)


def names(package: str) -> list[str]:
    """Names that `find` accepts in `package`: its public modules, sorted."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def find(package: str, base: type, name: str, folder: Path | None = None) -> type:
    """Class called `name`: the subclass of `base` in `package`'s file of that name, or a dotted path to one.

    A dotted path leads into `folder`, the recipe's, or into an installed package: see `own`.

    Raises:
        ValueError: no such file (the message suggests the nearest name), or a dotted path that leads to no
            subclass of `base`.
    """
    if "." in name:
        return _dotted(base, name, folder)
    if name not in names(package):
        raise ValueError(f"no {_kind(base)} named {name!r}{did_you_mean(name, names(package))}")
    module = importlib.import_module(f"{package}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    (found,) = classes  # one class a file: tests/test_stems.py insists
    return found


def construct(cls: type, hyperparameters: Mapping[str, Any]) -> Any:
    """`cls(**hyperparameters)` with keys, types and ranges checked.

    Raises:
        ValueError: an unknown key (with the nearest one), a value missing, of the wrong type or out of range, or a
            class that cannot be constructed.
    """
    if not dataclasses.is_dataclass(cls):
        raise ValueError(f"{cls.__name__} is not a dataclass; write @dataclass(frozen=True, kw_only=True) above it")
    if inspect.isabstract(cls):
        raise ValueError(f"{cls.__name__} does not define {', '.join(sorted(cls.__abstractmethods__))}")
    known = [field.name for field in dataclasses.fields(cls)]
    _refuse_absent(cls, hyperparameters)
    for key in hyperparameters:
        if key not in known:
            raise ValueError(f"{cls.__name__} has no {key!r}{did_you_mean(key, known)}")
    try:
        # A plain dict of values for a dataclass: pydantic converts ("0.1" to 0.1) and __post_init__ checks ranges.
        made = TypeAdapter(cls).validate_python(dict(hyperparameters))
    except ValidationError as error:
        raise ValueError(_describe(cls, error)) from None
    for key, value in hyperparameters.items():
        if isinstance(value, bool) and not isinstance(getattr(made, key), bool):  # pydantic takes True for 1.0
            raise ValueError(f"{cls.__name__}: {key} = {value}: input should be a valid number, not true or false")
    return made


@functools.cache
def own(path: str, folder: Path | None) -> Any:
    """What a user calls `module.name`, from a file of `folder` (the recipe's) or from an installed package.

    Nothing is taken from the working directory, where a download may have put anything, and what runs is said aloud.

    Raises:
        ValueError: no such thing.
    """
    module, _, name = path.rpartition(".")
    try:
        file = own_file(path, folder)
        if file is not None:
            logger.warning("%s runs the code of %s", path, file)
            return getattr(_from_file(_module_in(module, folder), file), name)
        package = module.partition(".")[0]
        if package not in ("alignkit", *sys.stdlib_module_names):
            logger.warning("%s runs the code of %s", path, _installed(package))
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # the code of a user's module may raise anything
        said = str(error) or type(error).__name__
        places = f"{folder} and the installed packages" if folder else "the installed packages"
        raise ValueError(f"cannot import {path!r}: {said}; looked in {places}") from error


def own_file(path: str, folder: Path | None) -> Path | None:
    """The file of `folder` that holds what a user calls `module.name`, None if it is not there.

    Raises:
        ValueError: no dotted name; a slash in one would lead out of the folder.
    """
    if not all(part.isidentifier() for part in path.split(".")):
        raise ValueError("it is no dotted name such as mylab.losses.Focal")
    module, _, _ = path.rpartition(".")
    if folder is None or not module:
        return None
    file = folder.joinpath(*module.split(".")).with_suffix(".py")
    return file if file.is_file() else None


def own_source(path: str, folder: Path | None) -> Path:
    """The file that holds what a user calls `module.name`. ValueError if there is none."""
    file = own_file(path, folder)
    if file is None:
        spec = importlib.util.find_spec(path.rpartition(".")[0])
        if spec is None or spec.origin is None:
            raise ValueError(f"no file holds {path!r}")
        file = Path(spec.origin)
    return file


def dotted_path(cls: type) -> str:
    """The path by which `own` finds a class, wherever its recipe lies."""
    return f"{_OWN_MODULE.sub('', cls.__module__)}.{cls.__qualname__}"


def _refuse_absent(cls: type, hyperparameters: Mapping[str, Any]) -> None:
    """ValueError for what a class lists in `not_here`: known elsewhere under this name, left out on purpose."""
    absent = getattr(cls, "not_here", {})
    for key, value in hyperparameters.items():
        for word in (key, value):
            if isinstance(word, str) and word in absent:
                raise ValueError(f"{cls.__name__}: {word} is not here; {absent[word]}")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Ending of an error message that names the nearest choice, or all of them when none is near."""
    choices = list(choices)
    near = difflib.get_close_matches(name, choices, n=1)
    # 'h_dpo' and 'HDPO' are nearer to 'hdpo' than any edit distance says
    plain = {_plain(choice): choice for choice in choices}
    near = [plain[_plain(name)]] if _plain(name) in plain else near
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose from {', '.join(choices)}" if choices else "; there are none"


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _describe(cls: type, error: ValidationError) -> str:
    """Every problem of a value in one line; the alternatives of a union are joined by "or"."""
    messages: dict[str, list[str]] = {}
    for problem in error.errors():
        if problem["type"] == "value_error":  # raised by the class itself: already says what to write
            return str(problem["ctx"]["error"])
        where = f"{cls.__name__}: {problem['loc'][0]}"
        if problem["type"] != "missing":
            where += f" = {problem['input']!r}"
        messages.setdefault(where, []).append(problem["msg"].lower())
    return "; ".join(f"{where}: {' or '.join(texts)}" for where, texts in messages.items())


def _dotted(base: type, name: str, folder: Path | None) -> type:
    found = own(name, folder)
    if not (inspect.isclass(found) and issubclass(found, base)):
        package = base.__module__.split("._")[0]  # where the class is exported
        raise ValueError(f"{name} is not a subclass of {package}.{base.__name__}")
    return found


_OWN_MODULE = re.compile(r"^recipe_[0-9a-f]{8}\.")


def _module_in(module: str, folder: Path | None) -> str:
    """A name for the module of a recipe's folder that no other recipe's module has."""
    return f"recipe_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}.{module}"


def _from_file(module: str, file: Path) -> ModuleType:
    """The module of a file, under this name; it may import its neighbours."""
    spec = importlib.util.spec_from_file_location(module, file)
    assert spec is not None
    assert spec.loader is not None  # of a .py file
    made = importlib.util.module_from_spec(spec)
    folder = str(file.parents[module.count(".") - 1])  # the recipe's
    sys.modules[module] = made  # where dataclasses look for what an annotation names
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[module]
        raise
    finally:
        sys.path.remove(folder)
    return made


def _installed(package: str) -> str:
    """Where a package is installed.

    Python looks in the working directory first when it is started there; what lies there is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None:
        raise ImportError(f"No module named {package!r}")
    places = [*(found.submodule_search_locations or [str(Path(found.origin or "").parent)])]
    first, *rest = sys.path
    cwd = str(Path.cwd())
    if first in ("", cwd) and cwd not in rest and any(place in (cwd, str(Path(cwd, package))) for place in places):
        raise ImportError(f"{package} lies in the working directory; put it beside the recipe, or install it")
    return found.origin or places[0]


def _kind(base: type) -> str:
    return base.__name__.lower()

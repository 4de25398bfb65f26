"""Find classes by file name: the name `hdpo` in a package is the class in its file `hdpo.py`.

There is no registry to edit. A dotted name such as `mylab.losses.Focal` imports a class of the user's own.
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


def find(package: str, base: type, name: str) -> type:
    """Class called `name`: the subclass of `base` in `package`'s file of that name, or a dotted path to one.

    Raises:
        ValueError: no such file (the message suggests the nearest name), or a dotted path that leads to no
            subclass of `base`.
    """
    if "." in name:
        return _dotted(base, name)
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
def own(path: str, folder: Path) -> Any:
    """What a user calls `module.name`, from a file of `folder` (the recipe's) or from an installed package.

    Nothing is taken from the working directory, where a download may have put anything, and what runs is said aloud.

    Raises:
        ValueError: no such thing.
    """
    module, _, name = path.rpartition(".")
    file = own_file(path, folder)
    try:
        if file is not None:
            logger.warning("%s runs the code of %s", path, file)
            return getattr(_from_file(module, file, folder), name)
        _refuse_working_directory(module.partition(".")[0])
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # the code of a user's module may raise anything
        said = str(error) or type(error).__name__
        raise ValueError(f"cannot import {path!r}: {said}; looked in {folder} and the installed packages") from error


def own_file(path: str, folder: Path) -> Path | None:
    """The file of `folder` that holds what a user calls `module.name`, None if it is not there."""
    module, _, _ = path.rpartition(".")
    file = folder.joinpath(*module.split(".")).with_suffix(".py") if module else folder
    return file if file.is_file() else None


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


def _dotted(base: type, name: str) -> type:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # TypeError: a relative name, ".a.b"
        raise ValueError(f"cannot import {_kind(base)} {name!r}: {error}") from None
    if not (inspect.isclass(found) and issubclass(found, base)):
        package = base.__module__.split("._")[0]  # where the class is exported
        raise ValueError(f"{name} is not a subclass of {package}.{base.__name__}")
    return found


def _from_file(module: str, file: Path, folder: Path) -> ModuleType:
    """The module of a file, under a name that no other recipe's module has; it may import its neighbours."""
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"recipe_{digest}.{module}", file)
    assert spec is not None
    assert spec.loader is not None  # of a .py file
    made = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(made)
    finally:
        sys.path.remove(str(folder))
    return made


def _refuse_working_directory(package: str) -> None:
    """Python looks in the working directory first when it is started there; what lies there is not installed."""
    first, *rest = sys.path
    cwd = str(Path.cwd())
    found = importlib.util.find_spec(package) if package else None
    if found is None or first not in ("", cwd) or cwd in rest:
        return
    places = found.submodule_search_locations or [str(Path(found.origin or "").parent)]
    if any(place in (cwd, str(Path(cwd, package))) for place in places):
        raise ImportError(f"{package} lies in the working directory; put it beside the recipe, or install it")


def _kind(base: type) -> str:
    return base.__name__.lower()

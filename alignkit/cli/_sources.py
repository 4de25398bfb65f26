"""What shells complete, read from source files: importing those that know it, with torch and TRL, takes seconds."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

# Section of a recipe: the file and the class whose fields are its keys.
SECTIONS = {
    "model": ("models/spec.py", "ModelSpec"),
    "model.adapter": ("models/spec.py", "Adapter"),
    "data": ("data/spec.py", "DataSpec"),
    "data.train.0": ("data/spec.py", "Source"),
    "data.eval.0": ("data/spec.py", "Source"),
    "train": ("recipe/schema.py", "TrainSpec"),
    "summary": ("recipe/summary/spec.py", "SummarySpec"),
    "evaluation": ("recipe/evaluation/spec.py", "EvaluationSpec"),
    "sample": ("generation/spec.py", "SampleSpec"),
    "rl": ("recipe/rl_spec.py", "RLSpec"),
    "reward": ("rewards/spec.py", "RewardSpec"),
    "ensemble": ("recipe/ensemble/spec.py", "EnsembleSpec"),
    "teachers.0": ("models/spec.py", "ModelSpec"),
}
ELSEWHERE = ("OBJECTIVE_OWNS", "BELONGS", "REFUSED")  # tables of TRL options that `train` does not take


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    folder = recipes()
    names = (file.relative_to(folder).with_suffix("") for file in folder.rglob("*.yaml"))
    return sorted(name.as_posix() for name in names if name.parts[0] != "accelerate")


def recipes() -> Path:
    """The folder of the shipped recipes: inside the installed package, or beside it in a checkout."""
    installed = PACKAGE / "recipes"
    return installed if installed.is_dir() else PACKAGE.parent / "recipes"


def method_names() -> list[str]:
    """Names of the objectives."""
    return sorted(file.stem for file in (PACKAGE / "objectives").glob("[!_]*.py"))


def method_of(recipe: str) -> str | None:
    """The objective of a recipe, a file or a shipped name, as far as a glance at its text can tell."""
    for file in (Path(recipe), recipes() / f"{recipe}.yaml"):
        if file.is_file():
            found = re.search(r"^objective:\s*(?:\{?\s*name:\s*)?(\w+)", file.read_text("utf-8", "replace"), re.M)
            return found[1] if found else None
    return None


def recipe_keys(method: str | None = None) -> dict[str, str]:
    """{key as an override writes it: its explanation}; hyperparameters are those of `method`, or of all."""
    keys = {"objective.name": "the method"}
    for name in [method] if method in method_names() else method_names():
        keys |= {f"objective.{key}": text for key, text in _fields(PACKAGE / "objectives" / f"{name}.py")}
    for section, (file, cls) in SECTIONS.items():
        keys |= {f"{section}.{key}": text for key, text in _fields(PACKAGE / file, cls)}
    keys |= {f"train.{key}": text for key, text in _trl_options()}
    return keys | {"report": "where metrics go", "profile": "true says where the time of a few steps goes"}


def _trl_options() -> Iterator[tuple[str, str]]:
    """Options of the TRL classes that recipes are trained with, but for those that belong elsewhere."""
    trl, transformers = (_folder(name) for name in ("trl", "transformers"))
    if trl is None or transformers is None:
        return
    tables = _tables(PACKAGE / "recipe" / "moved_keys.py")
    files = [transformers / "training_args.py", trl / "trainer" / "base_config.py"]
    files += [trl / "trainer" / f"{name.removesuffix('Config').lower()}_config.py" for name in _config_names()]
    for file in files:
        for key, text in _fields(file):
            if not any(key in tables[table] for table in ELSEWHERE):
                yield key, text


def _config_names() -> list[str]:
    """TRL's config classes, from the table of families."""
    families = _tables(PACKAGE / "recipe" / "schema.py")["FAMILIES"]
    return sorted(set(families.values()))


def _fields(file: Path, cls: str | None = None) -> Iterator[tuple[str, str]]:
    """Name and explanation of each field of a dataclass, or of every one in the file."""
    text, tree = _parsed(file)
    lines = text.splitlines()
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and cls in (None, node.name)]
    for node in (statement for found in classes for statement in found.body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        hidden = node.target.id.startswith("_") or "ClassVar" in ast.unparse(node.annotation)
        if not hidden and not _is_set_later(node):
            comments = "\n".join(lines[node.lineno - 1 : node.end_lineno]).partition("  # ")[2]
            yield node.target.id, _help(node) or comments.partition("\n")[0]


def _is_set_later(node: ast.AnnAssign) -> bool:
    """Whether a field is no argument of its class: `field(init=False)`."""
    keywords = node.value.keywords if isinstance(node.value, ast.Call) else []
    return any(word.arg == "init" and ast.unparse(word.value) == "False" for word in keywords)


def _help(node: ast.AnnAssign) -> str:
    """The text under `help` in a field's metadata."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Dict):
            for key, value in zip(inner.keys, inner.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help" and isinstance(value, ast.Constant):
                    return " ".join(str(value.value).replace("%%", "%").split())
    return ""


def _tables(file: Path) -> dict[str, dict[str, str]]:
    """{name: {key: value}} of the dictionaries that a module declares, as far as they are written out."""
    tables: dict[str, dict[str, str]] = {}
    for node in _parsed(file)[1].body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            tables[target.id] = {_plain(key): _plain(item) for key, item in pairs if key is not None}
    return tables


def _plain(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


@cache
def _parsed(file: Path) -> tuple[str, ast.Module]:
    text = file.read_text(encoding="utf-8")
    return text, ast.parse(text)


def _folder(package: str) -> Path | None:
    """Where an installed package is, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None

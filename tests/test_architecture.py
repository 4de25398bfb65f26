"""The laws of CONTRIBUTING about files: who may import whom, where TRL is touched, how long things get."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "alignkit").rglob("*.py"))

# What each part of alignkit may import from the others, bottom up. Not in the table: not allowed to exist.
BELOW = {
    "lookup": set(),
    "checkpoints": set(),
    "redaction": set(),
    "plots": set(),
    "pages": set(),
    "launcher": {"stop_signals"},
    "stop_signals": set(),
    "causes": set(),
    "objectives": {"lookup"},
    "models": {"lookup"},
    "data": {"lookup", "pages"},
    "remote": {"lookup"},
    "lab": {"lookup", "objectives", "plots"},
    "trainers": {"lookup", "causes", "stop_signals", "checkpoints", "objectives", "models", "data"},
    "generation": {"lookup", "models"},
    "evaluation": {"lookup", "pages", "remote", "generation"},
    "rewards": {"lookup", "models", "remote", "evaluation"},  # a judge may be a reward
}
BELOW["recipe"] = {*BELOW} - {"lab"}  # evaluation: a recipe may have its checkpoints judged
BELOW["studies"] = {*BELOW}
BELOW["cli"] = {*BELOW}
BELOW["__main__"] = {"cli"}
BELOW["__init__"] = set()

OUTSIDE = {
    "lookup": {"pydantic"},
    "checkpoints": set(),
    "redaction": set(),
    "pages": set(),
    "objectives": {"torch"},
}  # besides the standard library
TRL = {  # and trainers/
    "alignkit/recipe/schema.py",
    "alignkit/generation/vllm.py",
    "alignkit/models/fused_head.py",
    "alignkit/studies/bench_step.py",  # measures TRL's own trainer
}

MAX_FILE = 300  # lines
MAX_FUNCTION = 40


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part(path: Path) -> str:
    """The first name below alignkit: `objectives`, or `plots` of plots.py."""
    return path.relative_to(ROOT / "alignkit").parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports, anywhere in it; `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno} imports relatively; write the name in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(path: Path) -> set[str]:
    """Parts of alignkit that a file imports, its own apart."""
    inside = [module.split(".") for module in imports(path) if module.split(".")[0] == "alignkit"]
    found = {steps[1] for steps in inside if len(steps) > 1}
    parts = {part(file) for file in FILES} - {"__init__"}
    return (found & parts) - {part(path)}  # `from alignkit import __version__` is no arrow


def test_files_are_found():
    assert len(FILES) >= 90
    assert {part(file) for file in FILES} <= {*BELOW}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_down(path):
    wrong = arrows(path) - BELOW[part(path)]
    assert not wrong, f"{name(path)} imports {sorted(wrong)}; {part(path)} is below or beside them"


def test_arrows_are_found():
    """Guards the test above: a reader of imports that finds none would pass it."""
    found = {(part(file), below) for file in FILES for below in arrows(file)}
    assert {
        ("trainers", "objectives"),
        ("lab", "objectives"),
        ("models", "lookup"),
        ("recipe", "trainers"),
        ("cli", "recipe"),
        ("studies", "plots"),
        ("__main__", "cli"),
    } <= found


def test_the_table_has_no_circle():
    order: list[str] = []
    while rest := {*BELOW} - {*order}:
        free = sorted(one for one in rest if BELOW[one] <= {*order})
        assert free, f"these import each other in a circle: {sorted(rest)}"
        order += free


@pytest.mark.parametrize("layer", OUTSIDE)
def test_what_is_at_the_bottom_needs_little(layer):
    packages = {module.split(".")[0] for file in FILES if part(file) == layer for module in imports(file)}
    assert packages - {*sys.stdlib_module_names} - {"alignkit"} <= OUTSIDE[layer]


def test_trl_is_imported_where_the_design_allows():
    users = {name(file) for file in FILES if any(module.split(".")[0] == "trl" for module in imports(file))}
    assert any(user.startswith("alignkit/trainers/") for user in users)
    assert {user for user in users if not user.startswith("alignkit/trainers/")} <= TRL


def test_scripts_hold_no_logic():
    scripts = sorted((ROOT / "scripts").glob("*.py"))
    assert scripts
    for script in scripts:
        tree = ast.parse(script.read_text(encoding="utf-8"))
        defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert not defined or script.name == "bench.py", f"{name(script)} defines {defined[0].name}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE, "a longer file means a missing idea"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{name(path)}:{node.lineno} {node.name} has {length} lines"

"""The page is followed to the letter in a copy of the tree: three files, and the method trains under its name."""

import re
import shutil
from pathlib import Path

import pytest

from tests.launching import launch

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-an-objective.md").read_text(encoding="utf-8")
PARTS = ("alignkit", "recipes", "tests", "pyproject.toml")
TEST = """import torch

from alignkit.objectives import PairLogps
from alignkit.objectives.hinge import Hinge
from tests.objectives.properties import assert_lawful
from tests.objectives.samples import PAIRS


def test_laws():
    assert_lawful(Hinge(), PAIRS)


def test_terms():
    {batch}
    assert Hinge(beta=0.5)(batch).terms.tolist() == {terms}
"""


def shown(start):
    """The Python block of the page that begins so, as a file holds it: without prompts and results."""
    [block] = re.findall(rf"^```python\n(>>> {re.escape(start)}.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return "".join(f"{line[4:]}\n" for line in block.splitlines() if line.startswith((">>>", "...")))


def found(pattern):
    [text] = re.findall(pattern, PAGE, re.MULTILINE | re.DOTALL)
    return text


def three_files():
    """{path: content}, both from the page; the rest of the recipe is dpo's, as it says."""
    line = found(r"`(objective: \{[^`]+\})` and the rest of any other `tiny.yaml`")
    other = (ROOT / "recipes" / "dpo" / "tiny.yaml").read_text(encoding="utf-8")
    batch = shown("batch = ").partition("Hinge")[0].strip().replace("\n", "\n    ")
    return {
        found(r"^1\. `([^`]+)`"): shown("from dataclasses"),
        found(r"^2\. `([^`]+)`"): re.sub(r"^objective: .+$", line, other, flags=re.MULTILINE),
        found(r"^3\. `([^`]+)`"): TEST.format(batch=batch, terms=found(r"\.terms\ntensor\((.+?)\)")),
    }


def files(root):
    paths = (path for part in PARTS for path in (root / part, *(root / part).rglob("*")))
    kept = (path for path in paths if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in kept}


@pytest.mark.smoke
def test_a_new_objective_touches_three_files_and_trains(tmp_path):
    tree = tmp_path / "tree"
    for part in PARTS[:-1]:
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / PARTS[-1], tree)
    before = files(tree)
    for name, content in three_files().items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(content, encoding="utf-8")

    # the tree's own tests of the new name; one of test_shipped.py trains its recipe through the command line
    own = ["tests/test_stems.py", "tests/objectives/test_hinge.py", "tests/recipes/test_shipped.py"]
    tested = launch(["-m", "pytest", "-v", *own, "-k", "hinge or found"], tree, PYTHONPATH=str(tree), PYTEST_ADDOPTS="")
    assert tested.returncode == 0, tested.stdout
    assert "test_a_tiny_recipe_trains[hinge/tiny] PASSED" in tested.stdout

    after = files(tree)
    assert {name for name in after if after[name] != before.get(name)} == {
        "alignkit/objectives/hinge.py",
        "recipes/hinge/tiny.yaml",
        "tests/objectives/test_hinge.py",
    }
    assert {*before} <= {*after}

"""The documentation builds, its Python runs, and its commands are ones we test."""

import doctest
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from alignkit.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
FOUND = [
    (page.name, match.group(1).strip())
    for page in PAGES
    for match in re.finditer(
        r"^(?:\$ |    )(alignkit [^#\n]+|make \w+|accelerate launch [^#\n]+)", page.read_text(), re.M
    )
]
COMMANDS = [*{command: (page, command) for page, command in reversed(FOUND)}.values()]  # each once
# run by a test of their own: they install, train for minutes, start processes, or need the reader's own recipe
OWN_RECIPE = ("alignkit train my.yaml", "alignkit reward calibrate my.yaml", "alignkit sample my.yaml")
EVALUATION = ("alignkit eval",)  # with a judge on loopback: test_evaluation.py
ELSEWHERE = (
    "make ",
    "accelerate launch",
    "alignkit demo",
    "alignkit lab run",
    "alignkit study",
    *OWN_RECIPE,
    *EVALUATION,
)
NEEDS_A_HUB = ("alignkit check hdpo/qwen2.5-7b",)


def test_pages_and_commands_were_found():
    assert len(PAGES) >= 8
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS])
def test_commands_run_as_written(tmp_path, monkeypatch, page, command):
    if command.startswith(ELSEWHERE):
        target = command.split()[1] if command.startswith("make ") else None
        assert target is None or re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
        return
    monkeypatch.chdir(tmp_path)
    args = command.split()[1:]
    if command in NEEDS_A_HUB:
        args.append("model.path=tiny:qwen2")
        demo = ROOT / "recipes/demo/pairs_train.jsonl"
        args += [f"data.train.0.source={demo}", "data.train.0.split=train"]
        args += [f"data.eval.0.source={demo}", "data.eval.0.split=train", "report=none"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text()], ids=lambda page: page.name)
def test_python_in_pages_runs(page):
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0


def test_docstring_examples_run():
    import alignkit.objectives

    results = doctest.testmod(alignkit.objectives)
    assert (results.attempted > 0, results.failed) == (True, 0)


@pytest.mark.smoke
def test_the_site_builds_without_a_warning(tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "methods" / "index.html").read_text()
    assert "log sigmoid" in page
    assert "arXiv:2411.07595" in page
    assert "global_batch_size" in (tmp_path / "recipe" / "index.html").read_text()

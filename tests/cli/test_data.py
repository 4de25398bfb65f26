import json

import pytest
from click.testing import CliRunner

from alignkit.cli.data import command

RECIPE = """
objective: {name: dpo}
model: {path: "tiny:llama"}
data: {train: [{source: pairs.jsonl}]}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{i} + 1 =", "chosen": " more", "rejected": " less"} for i in range(8)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "x.yaml").write_text(RECIPE)
    return "x.yaml"


def run(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def test_show_prints_as_many_examples_as_asked(recipe):
    result = run("show", recipe, "-n", 3, "data.seed=1")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("(trained tokens are between ⟦ and ⟧)") == 3
    assert result.stdout.count("⟦ more<|im_end|>⟧") == 3
    assert len({line for line in result.stdout.splitlines() if "chosen:" in line}) == 3


def test_show_cuts_as_the_recipe_says(recipe):
    assert "⟦ mo⟧ … 3 tokens cut off" in run("show", recipe, "-n", 1, "train.max_length=10").stdout


def test_show_of_the_evaluation_set_needs_one(recipe):
    result = run("show", recipe, "--eval")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "write data.eval or data.holdout" in result.stderr
    assert run("show", recipe, "--eval", "-n", 9, "data.holdout=0.25").stdout.count("chosen:") == 2


def test_report_writes_a_page(recipe, tmp_path):
    result = run("report", recipe, "-o", "out/page.html", "-n", 2)
    assert (result.exit_code, result.stdout) == (0, "out/page.html\n")
    html = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert html.count("<h3>") == 2


def test_report_says_where_it_cannot_write(recipe, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("report", recipe, "-o", "file/page.html")
    assert result.exit_code == 2
    assert "cannot write file/page.html" in result.stderr
    assert "Traceback" not in result.output


def test_wrong_recipes_and_data_end_in_a_message(recipe):
    assert run("show", recipe, "objective.bta=1").exit_code == 2
    result = run("report", recipe, "data.train.0.source=pears.jsonl")
    assert result.exit_code == 2
    assert "pears.jsonl" in result.stderr

"""What is saved beside a checkpoint, and what is not."""

import inspect
import json
import subprocess

import trl

from alignkit.recipe import load, save_provenance
from alignkit.recipe.provenance import git_state

TEXT = "objective: dpo\nmodel: {path: org/model}\ndata: {train: [{source: org/rows}]}\ntrain: {run_name: a}\n"


def test_a_run_can_be_repeated_from_what_is_saved(write, tmp_path, monkeypatch):
    recipe = load(write(TEXT), ["objective.beta=0.05"])
    monkeypatch.setattr("sys.argv", ["alignkit", "train", "x.yaml", "objective.beta=0.05", "--token", "abc"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    save_provenance(recipe, tmp_path / "checkpoint-2", {"org/rows": "1234"})
    saved = json.loads((tmp_path / "checkpoint-2" / "provenance.json").read_text())
    assert load(tmp_path / "checkpoint-2" / "recipe.yaml") == recipe
    assert saved["datasets"] == {"org/rows": "1234"}
    assert saved["world_size"] == 2
    assert saved["command"] == ["alignkit", "train", "x.yaml", "objective.beta=0.05", "--token", "[redacted]"]
    assert saved["versions"]["trl"] == trl.__version__
    assert set(saved["versions"]) == {
        *("alignkit", "python", "torch", "transformers", "trl", "peft", "accelerate", "datasets")
    }
    assert saved["git"] is None, "the working directory is in no repository"
    assert saved["recipe"] == str(tmp_path / "x.yaml")


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    assert git_state(tmp_path) is None, "a repository without a commit"
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "a")
    clean = git_state(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == {**clean, "dirty": True}


def test_functions_beside_the_recipe_are_saved_with_it(write, tmp_path):
    write("def length(prompts, completions, **columns): ...\n", "rewards/lengths.py")
    members = "[{function: rewards.lengths.length}, {function: os.path.join}]"
    text = "objective: dpo\nmodel: {path: org/m}\ndata: {train: [{source: org/rows}]}\n"
    recipe = load(write(f"{text}reward: {{members: {members}}}\n"), uses=["reward"])
    for _ in range(2):  # each checkpoint
        save_provenance(recipe, tmp_path / "run", {})
    copy = tmp_path / "run" / "rewards" / "lengths.py"
    assert copy.read_text() == (tmp_path / "rewards" / "lengths.py").read_text()
    save_provenance(load("run/recipe.yaml", uses=["reward"]), tmp_path / "run", {})  # onto itself
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["provenance.json", "recipe.yaml", "rewards"]


OBJECTIVE = """
from dataclasses import dataclass
from alignkit.objectives.dpo import DPO

@dataclass(frozen=True, kw_only=True)
class Mine(DPO):
    pass
"""


def test_an_objective_beside_the_recipe_is_saved_with_it(write, tmp_path):
    write(OBJECTIVE, "mylab/losses.py")
    recipe = load(write(TEXT.replace("dpo", "{name: mylab.losses.Mine}")))
    save_provenance(recipe, tmp_path / "run", {})
    again = load("run/recipe.yaml")
    assert again.resolved() == recipe.resolved()
    assert again.resolved()["objective"]["name"] == "mylab.losses.Mine"
    assert inspect.getfile(type(again.objective)) == str(tmp_path / "run" / "mylab" / "losses.py")

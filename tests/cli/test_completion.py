"""What a shell is told after Tab, and that it need not wait for torch."""

import os
import shutil
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from alignkit import objectives
from alignkit.cli import COMMANDS, main
from alignkit.recipe import shipped_recipes
from tests.cli.commands import invoke
from tests.launching import ROOT


def complete(*words):
    """What is offered for the last of the words after `alignkit`, which may be unfinished."""
    *before, incomplete = words
    found = ShellComplete(main, {}, "alignkit", "_ALIGNKIT_COMPLETE").get_completions(list(before), incomplete)
    return [(item.type, item.value) for item in found]


def plain(*values):
    return [("plain", value) for value in values]


def test_commands():
    assert complete("") == plain(*COMMANDS)
    assert complete("co") == plain("convert", "completion")


@pytest.mark.parametrize("command", [["train"], ["check"], ["score-teachers"], ["data", "show"]])
def test_recipes_shipped_and_at_hand(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hdpo.yaml").touch()
    (tmp_path / "hdpo.txt").touch()
    shipped = [name for name in shipped_recipes() if name.startswith("hd")]
    assert complete(*command, "hd") == plain(*shipped, "hdpo.yaml")


def test_other_paths_are_the_shell_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complete("train", "./recipes/x") == [("file", "./recipes/x")]
    assert complete("chat", "runs/d") == [("dir", "runs/d")]
    assert complete("merge", "") == [("dir", "")]


def test_keys_follow_the_recipe():
    assert complete("train", "hdpo/tiny", "objective.") == plain(
        "objective.name=", "objective.alpha=", "objective.beta="
    )
    assert complete("train", "hdpo/tiny", "train.lr_scheduler_t") == plain("train.lr_scheduler_type=")
    assert complete("check", "hdpo/tiny", "train.seed=1", "model.adapter.ra") == plain("model.adapter.rank=")
    assert complete("demo", "data.train.0.lim") == plain("data.train.0.limit=")
    assert complete("demo", "nonsense.") == []


@pytest.mark.parametrize("command", ["new", "list"])
def test_methods(command):
    assert complete(command, "") == plain(*objectives.names())
    assert complete(command, "rob") == plain("robust_dpo")


@pytest.mark.parametrize(
    ("shell", "registers"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef alignkit"), ("fish", "complete --no-")],
)
def test_the_script_of_a_shell_is_printed(shell, registers, monkeypatch):
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", staticmethod(lambda: None))
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert registers in result.stdout
    assert f"_ALIGNKIT_COMPLETE={shell}_complete" in result.stdout


def test_other_shells_are_named():
    result = invoke("completion", "tcsh")
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.stderr


PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from alignkit.cli import main
main(prog_name="alignkit")
"""


@pytest.mark.parametrize(
    "words", ["train hd", "train hdpo/tiny train.learn", "new h", "list ", "data show ", "chat ru"]
)
def test_nothing_slow_is_imported(words):
    told = {"COMP_WORDS": f"alignkit {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    environment = {**os.environ, "_ALIGNKIT_COMPLETE": "bash_complete", **told}
    result = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    slow = {"torch", "transformers", "trl", "datasets", "peft", "pydantic", "ruamel", "rich"}
    assert not slow & {*result.stderr.split()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_loads_the_script_and_completes(tmp_path):
    binary = tmp_path / "alignkit"
    binary.write_text(f"#!{sys.executable}\nfrom alignkit.cli import main\nmain(prog_name='alignkit')\n")
    binary.chmod(0o755)
    script = """
        eval "$(alignkit completion bash)"
        compopt() { printf "%s %s\n" "$1" "$2"; }
        COMP_WORDS=(alignkit train hdpo/tiny train.learning_r); COMP_CWORD=3
        _alignkit_completion alignkit
        echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["-o nospace", "train.learning_rate="]

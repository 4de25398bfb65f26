import pytest

import alignkit
from alignkit.cli import COMMANDS
from tests.cli.commands import invoke
from tests.launching import ROOT, launch


def test_help_names_every_command():
    output = invoke("--help").output
    for name, text in COMMANDS.items():
        assert f"  {name}" in output
        assert text in " ".join(output.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert "Usage: main " + name in result.output


@pytest.mark.parametrize(
    ("written", "said"), [("trian", "did you mean 'train'?"), ("frobnicate", "choose from train, launch, demo, check")]
)
def test_an_unknown_command_is_refused_with_the_nearest(written, said):
    result = invoke(written, "dpo/tiny")
    assert result.exit_code == 2
    assert f"no command '{written}'" in result.stderr
    assert said in result.stderr


def test_the_version_is_said():
    result = invoke("--version")
    assert result.exit_code == 0, result.output
    assert result.output == f"alignkit, version {alignkit.__version__}\n"


def test_help_needs_no_torch(tmp_path):
    program = "import sys; from alignkit.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    result = launch(["-c", program], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "alignkit.cli" in result.stdout.split()
    assert not {"torch", "transformers", "trl"} & {*result.stdout.split()}


def test_recipes_are_read_without_what_trains_them(tmp_path):
    """TRL and peft take seconds, and half of the commands need neither."""
    result = launch(["-c", "import sys, alignkit.recipe; print(*sys.modules)"], tmp_path)
    assert "alignkit.recipe" in result.stdout.split()
    assert not {"trl", "peft"} & {*result.stdout.split()}


@pytest.mark.smoke
def test_the_script_is_the_command(tmp_path):
    result = launch([str(ROOT / "scripts" / "train.py"), "dpo/tnyi"], tmp_path)
    assert result.returncode == 2
    assert "did you mean dpo/tiny?" in result.stderr
    assert "Traceback" not in result.stderr

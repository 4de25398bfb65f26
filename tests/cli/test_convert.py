from alignkit.recipe import load
from tests.cli.commands import invoke

THEIRS = """\
model_name_or_path: org/base
dataset_name: org/preferences
learning_rate: 5.0e-7
overwrite_output_dir: true
"""


def test_the_recipe_is_printed_and_the_reasons_are_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dpo.yaml").write_text(THEIRS)
    result = invoke("convert", "dpo.yaml")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "dpo.yaml:4: overwrite_output_dir: is gone; an output folder is never emptied",
        "not carried over as in dpo.yaml: 1 key above",
    ]
    (tmp_path / "ours.yaml").write_text(result.stdout)
    assert load("ours.yaml").train["learning_rate"] == 5e-7


def test_a_recipe_is_written_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.yaml").write_text(THEIRS)
    result = invoke("convert", "theirs.yaml", "--script", "sft", "-o", "ours.yaml")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "wrote ours.yaml; next: alignkit check ours.yaml" in result.stderr
    assert type(load("ours.yaml").objective).__name__ == "NLL"
    result = invoke("convert", "theirs.yaml", "--script", "sft", "-o", "ours.yaml")
    assert result.exit_code == 2
    assert "error: ours.yaml exists already; choose another name, or remove it" in result.stderr


def test_what_cannot_be_converted_is_said_without_a_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dpo.yaml").write_text(THEIRS + "loss_type: hinge\n")
    result = invoke("convert", "dpo.yaml", "-o", "gone/ours.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: dpo.yaml: loss_type = hinge of TRL's dpo script is no objective")
    (tmp_path / "dpo.yaml").write_text(THEIRS)
    result = invoke("convert", "dpo.yaml", "-o", "gone/ours.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: gone/ours.yaml cannot be written: No such file or directory" in result.stderr

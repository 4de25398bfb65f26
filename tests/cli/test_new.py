from alignkit.recipe import load
from tests.cli.commands import invoke


def test_a_recipe_is_printed_or_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("new", "hdpo")
    assert result.exit_code == 0
    assert result.stdout.startswith("# H-DPO: DPO with a weight on the policy's entropy.\n")
    assert result.stderr == ""
    written = invoke("new", "hdpo", "-o", "mine.yaml")
    assert (written.exit_code, written.stdout) == (0, "")
    assert "wrote mine.yaml; next: alignkit check mine.yaml" in written.stderr
    assert (tmp_path / "mine.yaml").read_text() == result.stdout
    assert load("mine.yaml").objective.alpha == 0.9


def test_a_file_is_never_overwritten(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    result = invoke("new", "dpo", "-o", str(file))
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert file.read_text() == "mine"


def test_an_unknown_method_is_refused_with_the_nearest():
    result = invoke("new", "h_dpo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean 'hdpo'?" in result.stderr

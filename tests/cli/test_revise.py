"""`alignkit revise` on a tiny model that was trained a step."""

import pytest
from click.testing import CliRunner

from alignkit.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder as `alignkit train srpo/tiny` leaves it."""
    from alignkit.recipe import load
    from alignkit.recipe.build import build

    folder = tmp_path_factory.mktemp("srpo")
    run = build(load("srpo/tiny", [f"train.output_dir={folder}", "train.max_steps=1"]))
    run.save_model()
    return folder


def revise(*arguments, **options):
    return CliRunner().invoke(main, ["revise", *map(str, arguments), "--max-new-tokens", "4"], **options)


def test_every_draft_of_every_prompt_is_shown(model):
    result = revise(model, "Why?", "How?", "--rounds", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.strip().split(":")[0] for line in lines if "draft" in line] == ["draft 0", "draft 1", "draft 2"] * 2
    assert "Why?" in lines
    assert "How?" in lines


def test_a_prompt_may_come_from_the_standard_input(model):
    result = revise(model, "--rounds", "0", input="Why not?\n")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "Why not?"
    assert "draft 0:" in result.output


def test_draws_are_repeated_by_their_seed(model):
    first, again, other = (
        revise(model, "Why?", "--rounds", "1", "--temperature", "1", "--seed", seed).stdout for seed in (1, 1, 2)
    )
    assert first == again != other


def test_another_model_needs_a_revision_prompt(tmp_path):
    result = revise(tmp_path, "Why?")
    assert result.exit_code == 2
    assert "has no revision_prompt.txt" in result.stderr
    missing = revise("tiny:llama", "Why?", "--revision-prompt", tmp_path / "none.txt")
    assert missing.exit_code == 2
    assert "none.txt cannot be read" in missing.stderr
    (tmp_path / "bad.txt").write_text("{prompt}")
    bad = revise("tiny:llama", "Why?", "--revision-prompt", tmp_path / "bad.txt")
    assert "does not hold {draft}" in bad.stderr


def test_any_model_revises_with_a_prompt_of_its_own(tmp_path):
    (tmp_path / "ask.txt").write_text("{prompt} {draft}")
    result = revise("tiny:llama", "Why?", "--revision-prompt", tmp_path / "ask.txt", "--rounds", "1")
    assert result.exit_code == 0, result.output
    assert "draft 1:" in result.output

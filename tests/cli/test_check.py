from pathlib import Path

import pytest

from tests.cli.commands import invoke


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(output: str) -> dict[str, str]:
    return {line[:24].strip(): line[24:] for line in output.splitlines() if line[:24].endswith(" ")}


@pytest.mark.parametrize(
    ("processes", "batch"),
    [
        (1, "2 a device x 2 accumulated x 1 processes"),
        (2, "2 a device x 1 accumulated x 2 processes"),
    ],
)
def test_batches_and_steps_are_counted(processes, batch):
    result = invoke("check", "dpo/tiny", "--processes", str(processes))
    assert result.exit_code == 0, result.output
    said = rows(result.stdout)
    assert said["objective"] == "DPO(beta=0.1)"
    assert said["examples an epoch"] == "16"
    assert said["batch"].startswith("4 examples, 8 sequences, about ")
    assert said["batch"].endswith(batch)
    assert said["optimiser steps"] == "2 (0.5 epochs)"


def test_nothing_is_trained_and_nothing_written():
    assert invoke("check", "nll/tiny").exit_code == 0
    assert list(Path.cwd().iterdir()) == []


def test_a_batch_that_cannot_be_split_is_refused():
    result = invoke("check", "dpo/tiny", "--processes", "3")
    assert result.exit_code == 2
    assert "global_batch_size = 4 is no multiple of 2 examples on each of 3 processes" in result.stderr


def test_a_bad_recipe_is_refused():
    result = invoke("check", "dpo/tiny", "objective.bta=1")
    assert result.exit_code == 2
    assert "did you mean beta?" in result.stderr
    assert "1 problem. Nothing was started." in result.stderr

"""The soak kills real runs, and finds the run that a kill has changed."""

import json
import random

import pytest

from alignkit.studies import soak as soaking
from tests.launching import ROOT, launch


@pytest.mark.smoke
@pytest.mark.more
def test_a_short_soak(tmp_path, model_cache):
    program = [str(ROOT / "scripts" / "soak.py"), "dpo/tiny", "train.max_steps=8", "--kills", "2"]
    result = launch(program, tmp_path, ALIGNKIT_CACHE=str(model_cache))
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()[-1]
    runs, kills, _ = (int(part.split()[0]) for part in said.split(";")[0].split(", "))
    assert runs >= 1
    assert kills == 2
    assert said.endswith("weights and logged values are those of the run without kills, to the last bit")


def write(folder, weight):
    """What a run of one step leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(weight)
    (folder / "metrics.jsonl").write_text(json.dumps({"loss": 0.5, "step": 1, "train_runtime": random.random()}) + "\n")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    return tmp_path


def folder_of(arguments):
    """Where a run writes, from what `alignkit train` is told."""
    assert arguments[0] == "any"
    assert arguments[-2:] == ["--resume", "auto"]
    return soaking.Path(next(one.partition("=")[2] for one in arguments if one.startswith("train.output_dir=")))


def test_a_run_that_comes_to_another_end_is_found(place):
    def train(arguments):
        folder = folder_of(arguments)
        write(folder, folder.name)
        raise SystemExit(0)

    with pytest.raises(SystemExit, match=rf"^{place}/run-0 differs from {place}/whole after [01] kills, seed 3$"):
        soaking.soak(train, "any", [], kills=1, seed=3)


def test_a_run_that_fails_is_found(place):
    def train(arguments):
        raise SystemExit(3)

    with pytest.raises(SystemExit, match=rf"^a run ended with status 3; what it said is in {place}/whole/said$"):
        soaking.soak(train, "any", [], kills=1, seed=3)

"""The benchmark takes the steps that TRL takes, and compares; its times are not asserted."""

import runpy
from pathlib import Path

import pytest

from alignkit.objectives import make
from alignkit.recipe import load
from alignkit.studies.bench_step import METHODS, MODEL

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench.py"


def test_the_script_times_three_trainers_and_trl_is_the_measure(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "tiny:llama", "--rounds", "1", "--steps", "dpo"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    _, _, *rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
    assert [row[:2] for row in rows] == [
        ["`dpo`", name] for name in ("DPOTrainer (TRL)", "PairTrainer, TRL's forward", "PairTrainer")
    ]
    assert rows[0][3] == "1.00"


def test_its_model_is_by_default_the_demo_s():
    assert load("demo/smollm2").model.path == MODEL


@pytest.mark.parametrize("method", METHODS, ids=[method.objective for method in METHODS])
def test_both_sides_take_the_same_step(method):
    theirs = method.trainer(method.theirs, "tiny:llama")
    ours = method.trainer(method.ours, "tiny:llama", objective=make(method.objective))
    for run in (theirs, ours):
        run.train()
    same = ["num_tokens", "completions/mean_length"] if method.objective == "grpo" else ["loss", "grad_norm"]
    trl, mine = ({name: run.state.log_history[0][name] for name in same} for run in (theirs, ours))
    assert mine == pytest.approx(trl, rel=1e-4)
    assert ours.state.log_history[0]["grad_norm"] > 0

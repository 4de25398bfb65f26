"""The benchmark runs and compares with TRL; its times are not asserted."""

import runpy
from pathlib import Path

from alignkit.recipe import load
from alignkit.studies.bench_step import MODEL, measure, table

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench.py"


def test_three_ways_are_timed_and_trl_is_the_measure():
    timings = measure("tiny:llama", pairs=2, rounds=2)
    assert [one.name for one in timings] == ["DPOTrainer (TRL)", "PairTrainer, TRL's forward", "PairTrainer"]
    assert timings[0].ratio == 1
    assert all(one.seconds > 0 and one.ratio > 0 for one in timings)
    assert table(timings).count("x TRL") == 3


def test_the_script_takes_a_model_and_by_default_the_demo_s(monkeypatch, capsys):
    assert load("demo/smollm2").model.path == MODEL
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "tiny:llama", "--steps", "--rounds", "1"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert capsys.readouterr().out.count("x TRL") == 3

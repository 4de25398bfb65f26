"""The benchmark runs and compares with TRL; its times are not asserted."""

from alignkit.studies.bench_step import measure, table


def test_three_ways_are_timed_and_trl_is_the_measure():
    timings = measure("tiny:llama", pairs=2, rounds=2)
    assert [one.name for one in timings] == ["DPOTrainer (TRL)", "PairTrainer, TRL's forward", "PairTrainer"]
    assert timings[0].ratio == 1
    assert all(one.seconds > 0 and one.ratio > 0 for one in timings)
    assert table(timings).count("x TRL") == 3

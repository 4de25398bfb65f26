import math

from alignkit.recipe.summary.results import Result, duration, last_logged, results

LOSS = "what is minimised"


def test_first_and_last_of_each_set_held_out_first():
    history = [{"loss": 3.0, "step": 1}, {"eval_loss": 2.5, "step": 1}, {"loss": 1.0, "step": 2}]
    assert results(history) == [
        Result(name="loss", data="held-out", meaning=LOSS, first=2.5, last=2.5, steps=(1, 1)),
        Result(name="loss", data="training", meaning=LOSS, first=3.0, last=1.0, steps=(1, 2)),
    ]


def test_a_row_of_the_table():
    first, second = results([{"eval_loss": 2.5, "step": 1000}, {"loss": 3.0, "step": 1}, {"loss": 1e-6, "step": 2000}])
    assert first.cells() == ("held-out", "loss", "2.5", "2.5", "1,000", LOSS)
    assert second.cells() == ("training", "loss", "3", "1e-06", "1 to 2,000", LOSS)


def test_what_is_no_number_is_passed_over():
    history = [{"loss": math.nan, "step": 1}, {"loss": 2.0, "step": 2}, {"loss": math.inf, "step": 3}]
    (only,) = results(history)
    assert (only.first, only.last, only.steps) == (2.0, 2.0, (2, 2))
    assert results([{"loss": math.nan, "step": 1}]) == []


def test_last_logged():
    assert last_logged([{"a": 1.0}, {"a": 2.0}, {"b": 3.0}], "a") == 2.0
    assert last_logged([], "a") is None


def test_durations():
    assert [duration(seconds) for seconds in (0.4, 59.4, 200, 7499)] == ["0 s", "59 s", "3 min 20 s", "2 h 4 min"]

"""A profile says where the time of a step goes: once for each second, and to the phase that ran."""

import gzip
import json
import re

import psutil
import pytest

from alignkit.recipe import RecipeError, load, profile
from alignkit.recipe.profile import NAME, TRACE, Clock, Profile, Start, attach_profile, shown
from tests.recipes.runs import train


@pytest.fixture
def clock(monkeypatch):
    """A clock on which a second passes with every call of `work`."""
    now = [0.0]

    def work():
        now[0] += 1

    monkeypatch.setattr(profile.time, "perf_counter", lambda: now[0])
    clock = Clock()
    clock.work = work
    return clock


def test_time_belongs_to_the_innermost_phase(clock):
    def backward():
        clock.work()
        clock.timed("optimiser", clock.work)()
        clock.work()

    clock.start()
    clock.work()
    clock.timed("backward", backward)()
    assert clock.stop() == {"other": 1, "backward": 2, "optimiser": 1}


def test_an_evaluation_is_one_phase(clock):
    clock.start()
    clock.timed("evaluation", clock.timed("forward", clock.work))()
    clock.timed("forward", clock.work)()
    assert clock.stop() == {"other": 0, "evaluation": 1, "forward": 1}


def test_a_phase_that_fails_ends(clock):
    def fails():
        clock.work()
        raise ZeroDivisionError

    clock.start()
    with pytest.raises(ZeroDivisionError):
        clock.timed("reward", fails)()
    clock.work()
    assert clock.stop() == {"other": 1, "reward": 1}


def test_what_runs_before_the_start_or_after_the_end_is_nobody_s(clock):
    step = clock.timed("forward", clock.work)
    step()
    clock.start()
    step()
    assert clock.stop() == {"other": 0, "forward": 1}
    step()
    assert clock.seconds == {"other": 0, "forward": 1}


@pytest.mark.parametrize(("updates", "steps"), [(1, 2), (0.5, 2), (2, 2), (3, 3), (4, 4)])
def test_whole_generations_are_profiled(updates, steps):
    class Trainer:
        updates_per_generation = updates

        class args:
            max_steps = -1

        def add_callback(self, callback):
            self.callback = callback

    trainer = Trainer()
    attach_profile(trainer, Start())
    assert isinstance(trainer.callback, Profile)
    assert trainer.callback.active == steps


def test_a_run_of_one_step_has_nothing_to_profile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from alignkit.recipe.build import build

    said = "^profile leaves out the first step, and this run has no other; write train.max_steps: 3$"
    with pytest.raises(ValueError, match=said):
        build(load("dpo/tiny", ["profile=true", "train.max_steps=1"]))


def test_a_profile_is_no_part_of_the_run():
    profiled = load("dpo/tiny", ["profile=true"])
    assert profiled.profile is True
    assert profiled == load("dpo/tiny")
    assert "profile" not in profiled.resolved()
    with pytest.raises(RecipeError, match=r"profile = 'torch' should be true or false$"):
        load("dpo/tiny", ["profile=torch"])


def test_the_way_to_the_first_step_is_counted_from_the_start_of_the_process(monkeypatch):
    began = psutil.Process().create_time()
    times = iter([began + 5, began + 7])
    monkeypatch.setattr(profile.time, "time", lambda: next(times))
    start = Start()
    start.done("data")
    assert start.seconds == pytest.approx({"imports": 5, "data": 2})


@pytest.mark.smoke
def test_a_run_says_where_its_time_went(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train("grpo/tiny", tmp_path / "out", "profile=true", "train.max_steps=4", "train.eval_steps=4")
    said = json.loads((run.folder / NAME).read_text())
    assert [*said["start"]] == ["imports", "data", "model", "trainer", "first batch"]
    assert all(seconds > 0 for seconds in said["start"].values())
    assert said["steps"] == [2, 3]
    phases = {"data", "generation", "reward", "forward", "backward", "optimiser", "other"}
    assert {*said["seconds"]} == phases, "evaluation came later"
    assert all(seconds > 0 for seconds in said["seconds"].values())
    assert list(said["seconds"].values()) == sorted(said["seconds"].values(), reverse=True)
    table = shown(run.folder)
    assert table in run.output
    assert re.match(r"first step after [\d.e+]+ s: imports [\d.e+]+, data ", table)
    shares = [float(share) for share in re.findall(r"([\d.]+)%", table)]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    with gzip.open(run.folder / TRACE) as file:
        events = json.load(file)["traceEvents"]
    named = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    steps = 2  # of two micro-batches of one group
    assert {name: named.count(name) for name in ("data", "generation", "reward", "optimiser")} == {
        "data": steps,
        "generation": steps,
        "reward": steps,
        "optimiser": steps,
    }
    assert named.count("backward") == 2 * steps

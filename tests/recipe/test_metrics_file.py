"""Every logged entry is a line of valid JSON, also while the run goes on, and once after it is resumed."""

import json
import math

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from alignkit.recipe.metrics_file import MetricsFile, json_line


@pytest.fixture
def run(tmp_path):
    """A function that logs entries as a trainer does, and one that reads what is in the file."""
    args = TrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True, report_to="none")

    def log(*entries, history=(), zero=True):
        state = TrainerState(is_world_process_zero=zero, log_history=list(history))
        callback = MetricsFile()
        callback.on_train_begin(args, state, TrainerControl())
        for entry in entries:
            state.log_history.append(entry)
            callback.on_log(args, state, TrainerControl(), logs=entry)
            if zero:
                assert lines()[-1] == entry, "the line is there as soon as the entry is logged"

    def lines():
        return [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]

    return log, lines


def test_each_entry_is_a_line(run):
    log, lines = run
    log({"loss": 0.7, "step": 1}, {"loss": 0.6, "step": 2})
    assert lines() == [{"loss": 0.7, "step": 1}, {"loss": 0.6, "step": 2}]


def test_a_new_run_in_the_folder_starts_anew_and_a_resumed_one_goes_on(run):
    log, lines = run
    entries = [{"loss": 1.0 / step, "step": step} for step in range(1, 6)]
    log(*entries)
    log(*entries[2:4], history=entries[:2])
    assert lines() == entries[:4]
    log(entries[0])
    assert lines() == entries[:1]


def test_only_the_first_process_writes(run, tmp_path):
    log, _ = run
    log({"loss": 0.7}, zero=False)
    assert not (tmp_path / "out").exists()


def test_what_json_cannot_hold_is_null():
    assert json.loads(json_line({"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.5, "e": 2})) == {
        "a": None, "b": None, "c": None, "d": 1.5, "e": 2,
    }  # fmt: skip
    assert len(json_line({"name": "\u2028\x85\n"}).splitlines()) == 1

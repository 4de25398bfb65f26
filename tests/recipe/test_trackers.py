"""Trackers never end a run, and show one run each."""

import logging
import os
import sys
from types import SimpleNamespace

import pytest
from transformers import PrinterCallback, TrainerCallback
from transformers.integrations import TensorBoardCallback

from alignkit.recipe.trackers import Shielded, end_tracked_run, shield_trackers


class Unreachable(TrainerCallback):
    def __init__(self):
        self.calls: list[str] = []

    def on_train_begin(self, args, state, control, **kwargs):
        self.calls.append("begin")

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.calls.append(f"log {logs}")
        raise ConnectionError("no route to host")


def test_one_that_fails_is_left_out_with_one_warning(caplog):
    tracker = Unreachable()
    shielded = Shielded(tracker)
    with caplog.at_level(logging.WARNING):
        shielded.on_train_begin(None, None, None)
        shielded.on_log(None, None, None, logs={"loss": 1})
        shielded.on_log(None, None, None, logs={"loss": 2})
        shielded.on_train_end(None, None, None)
    assert tracker.calls == ["begin", "log {'loss': 1}"]
    (record,) = caplog.records
    assert record.getMessage() == "Unreachable failed and is left out from here on: ConnectionError: no route to host"


@pytest.mark.parametrize(
    ("set_", "waits"),
    [({}, "600"), ({"WANDB_FINISH_TIMEOUT": "5"}, "5"), ({"WANDB_LOG_MODEL": "end"}, None)],
    ids=["unset", "set", "weights are uploaded"],
)
def test_wandb_s_server_is_not_waited_for_without_end(monkeypatch, set_, waits):
    for name in ("WANDB_FINISH_TIMEOUT", "WANDB_LOG_MODEL"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    shield_trackers(SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[])))
    assert os.environ.get("WANDB_FINISH_TIMEOUT") == waits


def test_only_trackers_are_shielded():
    tracker, printer = TensorBoardCallback.__new__(TensorBoardCallback), PrinterCallback()
    trainer = SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[tracker, printer]))
    shield_trackers(trainer)
    first, second = trainer.callback_handler.callbacks
    assert isinstance(first, Shielded)
    assert second is printer


@pytest.mark.parametrize(("run", "ended"), [(object(), 1), (None, 0)], ids=["running", "idle"])
def test_a_tracked_run_ends_with_its_trainer(monkeypatch, run, ended):
    calls = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run, finish=lambda: calls.append(1)))
    end_tracked_run()
    assert len(calls) == ended


def test_without_wandb_there_is_nothing_to_end(monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    end_tracked_run()
    assert "wandb" not in sys.modules

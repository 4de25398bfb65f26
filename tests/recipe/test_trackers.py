"""Between two trainers of one process a wandb run ends; without wandb nothing happens."""

import sys
from types import SimpleNamespace

import pytest

from alignkit.recipe.trackers import end_tracked_run


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

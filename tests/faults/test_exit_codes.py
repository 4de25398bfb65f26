"""How `alignkit train` ends: its exit code says what a scheduler should do."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from alignkit.trainers import Diverged, NotSaved, PairTrainer
from tests.cli.commands import invoke
from tests.launching import ROOT

pytestmark = pytest.mark.smoke


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Diverged("the loss is not finite at step 3"), 3, "error: the loss is not finite at step 3"),
        (NotSaved("checkpoint-4 could not be written"), 4, "error: checkpoint-4 could not be written"),
        (OSError(28, "No space left on device", "out/x"), 4, "error: out/x: No space left on device; make room or"),
        (OSError(30, "Read-only file system", "out/x"), 4, "error: out/x: Read-only file system; make room or"),
        (torch.OutOfMemoryError("CUDA out of memory"), 4, "What to change: halve train.per_device_train_batch_size"),
        (MemoryError(), 4, "What to change: halve train.per_device_train_batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 4, "out of memory: "),
    ],
)
def test_what_stops_a_run_has_its_code(error, code, said, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(PairTrainer, "compute_loss", fail)
    result = invoke("train", "dpo/tiny")
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_defect_keeps_its_traceback(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a defect")

    monkeypatch.setattr(PairTrainer, "compute_loss", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        invoke("train", "dpo/tiny")


def test_an_output_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    result = invoke("train", "dpo/tiny", "train.output_dir=file/run")
    assert result.exit_code == 4
    assert "file/run" in result.stderr


def test_killed_then_resumed_and_terminated(tmp_path, model_cache):
    """As a scheduler does it: SIGKILL, then SIGTERM, each at whatever step the run has reached."""
    options = ["train.max_steps=4000", "train.save_steps=5", "train.save_strategy=steps", "train.eval_strategy=no"]
    program = ["-m", "alignkit", "train", "dpo/tiny", "train.output_dir=run", "train.save_total_limit=2", *options]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "ALIGNKIT_CACHE": str(model_cache)}
    said = ""
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 75)):
        before = newest(tmp_path)
        command = [sys.executable, *program, "--resume", "auto"]
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
            wait_until(lambda before=before: newest(tmp_path) > before)
            run.send_signal(number)
            said = run.communicate(timeout=60)[1].decode()
        assert run.returncode == code, said
    assert f"stopped and saved at step {newest(tmp_path)}; --resume auto goes on" in said
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == [*range(1, newest(tmp_path) + 1)], "every step is there, and once"


def newest(folder) -> int:
    return max((int(path.name.split("-")[1]) for path in folder.glob("run/checkpoint-*")), default=0)


def wait_until(true, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)

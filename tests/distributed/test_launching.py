"""Launches of one process and of several: as training alone, what they are told to stop by, and what they refuse."""

import re
import signal
import subprocess
import sys
import time

import pytest

from alignkit import checkpoints
from tests.launching import ROOT, SECONDS, accelerate, environment, free_port, launch
from tests.recipes.runs import RECIPES, Run, train

pytestmark = pytest.mark.smoke

SCRIPT = str(ROOT / "scripts" / "train.py")
CPU_CONFIG = """\
compute_environment: LOCAL_MACHINE
distributed_type: {kind}
use_cpu: true
mixed_precision: "no"
num_machines: 1
num_processes: 2
"""


@pytest.mark.matrix
def test_one_process_is_the_command_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RECIPES / "accelerate" / "single-cpu.yaml"
    result = launch([*accelerate(config), SCRIPT, "dpo/tiny", "train.output_dir=launched"], tmp_path)
    assert result.returncode == 0, result.stderr
    launched, here = Run(tmp_path / "launched", result.stdout), train("dpo/tiny", tmp_path / "here")
    assert launched.provenance["world_size"] == 1
    assert launched.history == here.history
    name = "model.safetensors"
    assert (launched.folder / name).read_bytes() == (here.folder / name).read_bytes()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("MULTI_CPU", "accelerate was asked for several processes and started one"),
        pytest.param("FSDP", "FSDP was asked to shard the model, but this run is MULTI_CPU", marks=pytest.mark.matrix),
    ],
)
def test_what_accelerate_would_do_otherwise_in_silence_is_refused(kind, said, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(CPU_CONFIG.format(kind=kind), encoding="utf-8")
    result = launch([*accelerate(config), SCRIPT, "dpo/tiny"], tmp_path)
    assert result.returncode != 0  # accelerate's own, whose traceback follows ours
    (line, *_) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert said in line
    assert "recipes/accelerate" in line
    assert re.search(r"exit status 2|exitcode\s*: 2", result.stderr)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("single-cpu", signal.SIGTERM),
        pytest.param("single-cpu", signal.SIGUSR1, marks=pytest.mark.matrix),
        pytest.param("ddp-cpu", signal.SIGTERM, marks=pytest.mark.matrix),
        pytest.param("ddp-cpu", signal.SIGUSR1, marks=pytest.mark.matrix),
    ],
)
def test_a_signal_to_alignkit_launch_reaches_training_and_its_code_comes_back(name, number, tmp_path):
    config = tmp_path / "config.yaml"
    text = (RECIPES / "accelerate" / f"{name}.yaml").read_text()
    config.write_text(f"{text}main_process_port: {free_port()}\n")
    longer = ["train.max_steps=2000", "train.logging_steps=1", "train.save_strategy=no", "train.eval_strategy=no"]
    command = ["-m", "alignkit", "launch", "dpo/tiny", "train.output_dir=out", *longer, "--accelerate", str(config)]
    errors, metrics = tmp_path / "errors", tmp_path / "out" / "metrics.jsonl"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, *command], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=stderr
        ) as run,
    ):
        try:
            until = time.monotonic() + SECONDS
            while not (metrics.exists() and '"loss"' in metrics.read_text()):
                assert run.poll() is None, errors.read_text()
                assert time.monotonic() < until, "no step was logged"
                time.sleep(0.1)
            run.send_signal(number)
            run.wait(SECONDS)
        finally:
            run.terminate()
    said = errors.read_text()
    assert run.returncode == 75, said
    (saved,) = checkpoints.found(tmp_path / "out")
    assert checkpoints.damage(saved) is None
    assert f"stopped and saved at step {saved.name.removeprefix('checkpoint-')}; --resume auto goes on" in said

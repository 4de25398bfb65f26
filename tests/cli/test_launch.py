"""What `alignkit launch` composes, and that a SLURM job saves in time and goes back to the queue."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.commands import invoke
from tests.recipes.runs import RECIPES

CONFIGS = RECIPES / "accelerate"


def composed(*options: str) -> str:
    result = invoke("launch", "dpo/tiny", *options, "--dry-run")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_command_for_one_machine():
    said = composed("objective.beta=0.2", "--accelerate", "zero3", "--processes", "2")
    assert said.split(" -m ", 1)[1] == (
        f"alignkit.launcher --config_file {CONFIGS / 'zero3.yaml'} --num_processes 2 --module alignkit train "
        "dpo/tiny objective.beta=0.2 --resume auto\n"
    )


def test_processes_are_the_configuration_s_unless_given():
    assert "--num_processes 2 " in composed("--accelerate", "ddp-cpu")


def test_a_job_on_two_nodes():
    said = composed("--accelerate", "ddp", "--processes", "1", "--nodes", "2", "--slurm", "--sbatch=--time=24:00:00")
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=1\n#SBATCH --gpus-per-node=1\n" in said
    assert "#SBATCH --time=24:00:00\n" in said
    assert "--num_processes 2 --num_machines 2 --machine_rank $SLURM_NODEID --main_process_ip $MASTER_ADDR " in said
    assert "gpus-per-node" not in composed("--accelerate", "ddp-cpu", "--slurm")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--accelerate", "zero4"], "no accelerate configuration 'zero4'; did you mean 'zero"),
        (["--nodes", "2"], "--nodes and --sbatch are SLURM's; add --slurm, or start the command on every node"),
        (["--processes", "0"], "processes = 0 must be at least 1"),
        (["--processes", "3"], "global_batch_size = 4 is no multiple of 2 examples on each of 3 processes"),
        (["objective.bta=1"], "did you mean beta?"),
    ],
)
def test_what_cannot_be_launched_is_refused_before_it_waits_in_a_queue(options, said):
    result = invoke("launch", "dpo/tiny", *options, "--dry-run")
    assert result.exit_code == 2
    assert said in result.stderr


def test_without_slurm_a_job_is_not_submitted(monkeypatch):
    monkeypatch.setenv("PATH", "")
    result = invoke("launch", "dpo/tiny", "--accelerate", "ddp-cpu", "--slurm")
    assert result.exit_code == 2
    assert "there is no sbatch here; write --dry-run and submit what is printed" in result.stderr


@pytest.fixture
def slurm(tmp_path):
    """Stand-ins for srun and scontrol that write down what they are asked for."""
    (tmp_path / "bin").mkdir()
    srun = 'trap "echo terminated >> log; exit 1" TERM; echo "srun $MASTER_ADDR" >> log; sleep 30 & wait $!'
    scontrol = 'case $1 in show) echo node-1; echo node-2;; *) echo "scontrol $*" >> log;; esac'
    for name, text in {"srun": srun, "scontrol": scontrol}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def test_a_job_hands_the_signal_on_and_goes_back_to_the_queue(slurm):
    job = slurm / "job.sh"
    job.write_text(composed("--accelerate", "ddp-cpu", "--slurm"))
    environ = {"PATH": f"{slurm / 'bin'}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node-[1-2]"}
    with subprocess.Popen(["bash", str(job)], cwd=slurm, env=environ) as run:
        until = time.monotonic() + 20
        while not (slurm / "log").exists():
            assert time.monotonic() < until, "srun was not started"
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        run.wait(timeout=20)
    assert Path(slurm / "log").read_text().splitlines() == ["srun node-1", "terminated", "scontrol requeue 7"]

"""Starting programs as a user does: in processes of their own, one or several."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent  # ninja is there, where no environment was activated
SECONDS = 180
# what a node that runs the tests may say about the run it is itself part of
WORLD = ("ACCELERATE_USE_CPU", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
TO_CLEAN_UP = 15  # seconds; a launcher that is told to stop stops its workers


def launch(
    program: list[str], cwd: Path, seconds: int = SECONDS, **environ: str | None
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments; a variable that is None is unset. TimeoutExpired after too long."""
    env = environment(**environ)
    command = [sys.executable, *program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.communicate(timeout=TO_CLEAN_UP)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def environment(**environ: str | None) -> dict[str, str]:
    """Variables of a program that is started here; one that is None is unset."""
    here = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    merged = {**os.environ, **dict.fromkeys(WORLD), **here, **environ}
    return {name: value for name, value in merged.items() if value is not None}


def torchrun(processes: int) -> list[str]:
    """`torchrun` at a port of its own."""
    return ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={free_port()}"]


def accelerate(config: Path | str) -> list[str]:
    """`accelerate launch` at a port of its own."""
    return ["-m", "accelerate.commands.launch", f"--config_file={config}", f"--main_process_port={free_port()}"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

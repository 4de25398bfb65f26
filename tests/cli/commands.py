"""Running the command line, in this process or in another."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from alignkit.cli import main

ROOT = Path(__file__).parents[2]


def invoke(*arguments: str) -> Result:
    """`alignkit ARGUMENTS` in this process; an exception that is no exit is raised here."""
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def launch(
    program: list[str], cwd: Path, seconds: int = 180, **environ: str | None
) -> subprocess.CompletedProcess[str]:
    """Python with these arguments in a process of its own; a variable that is None is unset."""
    merged = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environ}
    env = {name: value for name, value in merged.items() if value is not None}
    return subprocess.run(
        [sys.executable, *program], cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False
    )

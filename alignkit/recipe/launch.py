"""From a recipe and a kind of hardware to the command that trains one on the other: here, or as a SLURM job."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate.commands.config.config_args import load_config_from_file

from alignkit.lookup import did_you_mean
from alignkit.recipe.problems import RecipeError
from alignkit.recipe.schema import Recipe
from alignkit.recipe.shipped import recipes_folder
from alignkit.recipe.yaml_source import MAX_BYTES, read_yaml

PORT = 29500


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A recipe on so many processes. Raises ValueError where the recipe's batch does not fit them."""

    recipe: str  # as it was written
    overrides: tuple[str, ...] = ()
    config: Path  # accelerate's
    processes: int | None = None  # of each node; None leaves it to the configuration
    nodes: int = 1

    def __post_init__(self) -> None:
        for name in ("processes", "nodes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")

    @property
    def per_node(self) -> int:
        return self.processes or load_config_from_file(str(self.config)).num_processes

    def check(self, recipe: Recipe) -> None:
        """Refuse a batch that cannot be split, before a job waits in a queue to say so."""
        micro = recipe.train.get("per_device_train_batch_size")
        if micro is not None:
            recipe.settings.accumulation_steps(micro, self.per_node * self.nodes)

    def command(self) -> list[str]:
        """`accelerate launch ...`, by our launcher. On several nodes it runs on each; SLURM's variables say which."""
        words = [sys.executable, "-m", "alignkit.launcher", "--config_file", str(self.config)]
        words += ["--num_processes", str(self.per_node * self.nodes)]
        if self.nodes > 1:
            words += ["--num_machines", str(self.nodes), "--machine_rank", "$SLURM_NODEID"]
            words += ["--main_process_ip", "$MASTER_ADDR", "--main_process_port", str(PORT)]
        return [*words, "--module", "alignkit", "train", self.recipe, *self.overrides, "--resume", "auto"]

    def shown(self) -> str:
        """The command as a shell takes it; variables are left for the shell."""
        return " ".join(word if word.startswith("$") else shlex.quote(word) for word in self.command())

    def job(self, directives: Sequence[str] = ()) -> str:
        """A batch script for SLURM that saves before its time is up and puts itself in the queue again."""
        gpus = "" if load_config_from_file(str(self.config)).use_cpu else f"#SBATCH --gpus-per-node={self.per_node}\n"
        own = "".join(f"#SBATCH {directive}\n" for directive in directives)
        name = Path(self.recipe).with_suffix("").as_posix().replace("/", "-")
        command = shlex.quote(f"exec {self.shown()}")  # in the shell's place, or the shell would get the signals
        return _JOB.format(name=name, nodes=self.nodes, gpus=gpus, own=own, command=command)


def find_config(name: str) -> Path:
    """accelerate's configuration by its shipped name, `zero3`, or by its path.

    Raises:
        ValueError: no such file, one with more than plain values, or one beyond a recipe's limits: accelerate has none.
    """
    if Path(name).is_file():
        with Path(name).open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")
        _, report = read_yaml(text, name)
        if report:
            raise RecipeError(report.problems())
        return Path(name)
    shipped = {path.stem: path for path in sorted((recipes_folder() / "accelerate").glob("*.yaml"))}
    if name not in shipped:
        raise ValueError(f"no accelerate configuration {name!r}{did_you_mean(name, shipped)}")
    return shipped[name]


_JOB = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
{gpus}#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
{own}
# Three minutes before the time is up, SLURM sends SIGTERM to this script alone. It hands it on; the run saves and
# stops, and the job goes back to the queue, where `--resume auto` goes on.
again=
trap 'again=yes; kill -TERM "$job"' TERM

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR
srun --kill-on-bad-exit=1 bash -c {command} &
job=$!
wait "$job"
code=$?
if [ -n "$again" ]; then
    wait "$job"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""

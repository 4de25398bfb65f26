"""`alignkit launch RECIPE [key=value ...] --accelerate zero3 --processes 8`"""

import os
import subprocess
import sys

import click

from alignkit.cli import _arguments
from alignkit.cli._errors import user_errors


@click.command(name="launch")
@_arguments.recipe
@_arguments.overrides
@click.option("--accelerate", "config", default="single", show_default=True, help="Shipped configuration, or a file.")
@click.option("--processes", type=int, help="Processes of each node; unset: as the configuration says.")
@click.option("--nodes", default=1, show_default=True, help="Machines; several need --slurm.")
@click.option("--slurm", is_flag=True, help="Submit a job that saves in time and goes back to the queue.")
@click.option("--sbatch", "directives", multiple=True, metavar="OPTION", help="For the job: --sbatch=--time=24:00:00")
@click.option("--dry-run", is_flag=True, help="Print what would be run or submitted.")
def command(
    recipe: str,
    overrides: tuple[str, ...],
    config: str,
    processes: int | None,
    nodes: int,
    slurm: bool,
    directives: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Train RECIPE on several processes: print the command, then run or submit it.

    The recipe stays the same on all hardware; train.global_batch_size keeps the experiment the same.
    """
    from alignkit.recipe import load
    from alignkit.recipe.launch import Launch, find_config

    with user_errors():
        if not slurm and (nodes > 1 or directives):
            raise ValueError("--nodes and --sbatch are SLURM's; add --slurm, or start the command on every node")
        found = find_config(config)
        launch = Launch(recipe=recipe, overrides=overrides, config=found, processes=processes, nodes=nodes)
        launch.check(load(recipe, overrides))
    click.echo(launch.job(directives) if slurm else launch.shown(), nl=not slurm)
    if dry_run:
        return
    if slurm:
        sys.exit(_submitted(launch.job(directives)))
    sys.stdout.flush()
    words = launch.command()
    os.execv(words[0], words)  # in whose place signals and exit codes are the launcher's


def _submitted(job: str) -> int:
    try:
        return subprocess.run(["sbatch"], input=job, text=True, check=False).returncode
    except FileNotFoundError:
        click.echo("error: there is no sbatch here; write --dry-run and submit what is printed", err=True)
        return 2

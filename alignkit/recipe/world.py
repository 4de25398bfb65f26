"""Whether a run has the processes, and the sharding, that it was launched for.

accelerate starts one process where its configuration says MULTI_CPU, and holds the whole model on every process where
a CPU run asks to shard it, both without a word. Such a run would be another experiment, or out of memory.
"""

import os
from collections.abc import Mapping

from accelerate import PartialState
from accelerate.utils import DistributedType

# How launchers say how many processes there are: torchrun and accelerate, Open MPI, Intel MPI and MPICH, MVAPICH.
SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
# How a launch asks for sharding, and what accelerate calls a run that does it.
SHARDING = {
    "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED,
    "ACCELERATE_USE_FSDP": DistributedType.FSDP,
}
INSTEAD = (
    "Take a configuration of recipes/accelerate, whose distributed_type starts what num_processes says, or start the "
    "processes with torchrun --nproc_per_node N scripts/train.py RECIPE"
)


def running_processes(environ: Mapping[str, str] = os.environ) -> int:
    """Processes of this run.

    Raises:
        ValueError: it was launched for more, or for sharding that accelerate does not do on CPUs.
    """
    state = PartialState()
    check_processes(state.num_processes, environ)
    if state.device.type == "cpu" and _asked(environ) is DistributedType.FSDP:
        check_sharding(state.distributed_type, environ)
    return state.num_processes


def check_processes(running: int, environ: Mapping[str, str]) -> None:
    """Refuse a run with fewer processes than its launcher's variables say."""
    sizes = [int(environ[name]) for name in SIZES if environ.get(name, "").isdigit()]
    if sizes and max(sizes) > running:
        raise ValueError(f"launched for {max(sizes)} processes, but {running} would train. {INSTEAD}")
    # `accelerate launch` sets MASTER_ADDR when it is asked for several processes, ACCELERATE_USE_CPU when it starts one
    if not sizes and running == 1 and "MASTER_ADDR" in environ and "ACCELERATE_USE_CPU" in environ:
        raise ValueError(
            f"accelerate was asked for several processes and started one. {INSTEAD}. If one was wanted, write "
            "num_processes: 1 and unset MASTER_ADDR"
        )


def check_sharding(active: DistributedType, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a run that was asked to shard its model and would hold all of it on every process."""
    asked = _asked(environ)
    if asked is not None and asked != active:
        raise ValueError(
            f"{asked.value} was asked to shard the model, but this run is {active.value}. On CPUs only DeepSpeed "
            "shards, and only without ACCELERATE_USE_CPU; take recipes/accelerate/zero3-cpu.yaml"
        )


def _asked(environ: Mapping[str, str]) -> DistributedType | None:
    """What the launch wants to shard with."""
    return next((kind for name, kind in SHARDING.items() if environ.get(name, "").lower() == "true"), None)

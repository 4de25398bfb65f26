"""The variables are those that `accelerate launch` and torchrun set; tests/distributed launches them for real."""

import pytest
import torch
from accelerate.utils import DistributedType

from alignkit.recipe import load
from alignkit.recipe.build import training_arguments
from alignkit.recipe.world import check_processes, check_sharding, running_processes

MULTI_CPU = {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_one_process_without_a_launcher():
    assert running_processes({}) == 1


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"])
def test_fewer_processes_than_launched_are_refused(variable):
    with pytest.raises(ValueError, match=r"launched for 4 processes, but 2 would train\. .*recipes/accelerate"):
        check_processes(2, {variable: "4"})


def test_as_many_as_launched_pass():
    check_processes(4, {"WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1"})


def test_accelerate_starting_one_process_of_several_is_refused():
    with pytest.raises(ValueError, match="accelerate was asked for several processes and started one"):
        running_processes(MULTI_CPU)


def test_a_missing_process_is_named_before_torch_ends_the_run_without_a_name():
    recipe = load("dpo/tiny")
    assert training_arguments(recipe).ddp_timeout > recipe.settings.rank_timeout
    assert training_arguments(load("dpo/tiny", ["train.ddp_timeout=60"])).ddp_timeout == 60


@pytest.mark.parametrize(
    "environ",
    [
        {"ACCELERATE_USE_CPU": "True"},  # one process wanted
        {"MASTER_ADDR": "node-1"},  # exported by a cluster's script, no launcher
        MULTI_CPU | {"WORLD_SIZE": "1"},
    ],
)
def test_one_process_as_wanted_passes(environ):
    assert running_processes(environ) == 1


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"])
def test_sharding_without_effect_is_refused(variable):
    with pytest.raises(ValueError, match=r"was asked to shard the model, but this run is MULTI_CPU"):
        check_sharding(DistributedType.MULTI_CPU, {variable: "true"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="FSDP works on GPUs")
def test_fsdp_on_a_cpu_is_refused_before_accelerate_raises_an_error_of_its_own():
    with pytest.raises(ValueError, match="FSDP was asked to shard the model"):
        running_processes({"ACCELERATE_USE_FSDP": "true"})


@pytest.mark.parametrize(
    ("active", "environ"),
    [
        (DistributedType.DEEPSPEED, {"ACCELERATE_USE_DEEPSPEED": "true"}),
        (DistributedType.FSDP, {"ACCELERATE_USE_FSDP": "true"}),
        (DistributedType.MULTI_GPU, {"ACCELERATE_USE_FSDP": "false"}),
        (DistributedType.NO, {}),
    ],
)
def test_sharding_in_effect_or_not_wanted_passes(active, environ):
    check_sharding(active, environ)

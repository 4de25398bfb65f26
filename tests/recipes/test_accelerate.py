"""tests/distributed launches the configurations for CPUs; here all are read by accelerate, and compared."""

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from tests.recipes.runs import RECIPES

FILES = sorted((RECIPES / "accelerate").glob("*.yaml"))
STAGES = {"zero1": 1, "zero2": 2, "zero3": 3, "zero2-offload": 2, "zero3-offload": 3}
GPUS_ONLY = {"fsdp2", "zero2-offload", "zero3-offload"}  # what on CPUs is nothing, or does nothing


def kind(path) -> str:
    return path.stem.removesuffix("-cpu")


def test_every_configuration_has_its_twin_for_cpus():
    assert {path.stem for path in FILES} == {
        f"{name}{device}" for name in ("single", "ddp", "zero1", "zero2", "zero3") for device in ("", "-cpu")
    } | GPUS_ONLY


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_configuration_starts_what_its_name_says(path):
    config = load_config_from_file(str(path))  # refuses unknown keys
    expected = {"single": "NO", "ddp": "MULTI_GPU", "fsdp2": "FSDP"}.get(kind(path), "DEEPSPEED")
    assert config.distributed_type == expected  # MULTI_CPU would start one process
    assert config.num_processes == {"single": 1}.get(kind(path), 2 if "cpu" in path.stem else 8)
    assert config.use_cpu is ("cpu" in path.stem)
    assert config.mixed_precision == "no", "the recipe decides the precision"
    assert config.deepspeed_config.get("zero_stage") == STAGES.get(kind(path))
    if kind(path) in STAGES:
        assert config.deepspeed_config["gradient_accumulation_steps"] == "auto", "it follows from the recipe"
    if "offload" in kind(path):
        assert config.deepspeed_config["offload_optimizer_device"] == "cpu"
    if kind(path) == "fsdp2":
        assert config.fsdp_config["fsdp_version"] == 2
    if STAGES.get(kind(path)) == 3:
        assert config.deepspeed_config["zero3_init_flag"] is True
        assert config.deepspeed_config["zero3_save_16bit_model"] is True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_configuration_says_how_it_is_used(path):
    text = path.read_text(encoding="utf-8")
    assert f"accelerate launch --config_file recipes/accelerate/{path.name} scripts/train.py" in text.splitlines()[1]

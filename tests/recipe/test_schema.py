"""Accumulation, and what TRL's annotations are read as."""

from typing import get_args

import pytest
import trl

from alignkit.objectives import find
from alignkit.recipe.describe import choices
from alignkit.recipe.schema import FAMILIES, TrainSpec, config_class, options, refusal


@pytest.mark.parametrize(("batch", "per_device", "processes", "steps"), [(128, 4, 1, 32), (128, 4, 8, 4), (8, 8, 1, 1)])
def test_accumulation_follows_from_the_global_batch(batch, per_device, processes, steps):
    assert TrainSpec(global_batch_size=batch).accumulation_steps(per_device, processes) == steps


def test_without_a_global_batch_trl_decides():
    assert TrainSpec().accumulation_steps(4, 1) is None


@pytest.mark.parametrize(("batch", "processes"), [(12, 2), (4, 2)])
def test_a_batch_that_processes_cannot_share(batch, processes):
    with pytest.raises(ValueError, match=f"global_batch_size = {batch} is no multiple of 8 examples on each of 2 proc"):
        TrainSpec(global_batch_size=batch).accumulation_steps(8, processes)


@pytest.mark.parametrize(("name", "config"), [("dpo", "DPOConfig"), ("mixce", "SFTConfig")])
def test_the_config_follows_from_the_family(name, config):
    assert config_class(find(name)) is getattr(trl, config)


def test_every_option_has_a_type_that_yaml_can_hold():
    for name in FAMILIES.values():
        kinds = options(getattr(trl, name))
        assert {"no", "steps", "epoch"} == set(choices(kinds["eval_strategy"]))
        assert "cosine" in choices(kinds["lr_scheduler_type"])
        assert set(choices(kinds["train_sampling_strategy"])) >= {"random", "sequential"}
        assert type(None) in get_args(kinds["ddp_backend"])


def test_trl_s_own_objections_are_passed_on():
    assert refusal(trl.DPOConfig, {}) is None
    assert "torch_empty_cache_steps" in refusal(trl.DPOConfig, {"torch_empty_cache_steps": -1})
    assert refusal(trl.SFTConfig, {"accelerator_config": {"no_such_key": 1}})

"""What needs a GPU: `make gpu` on such a machine. Each trainer takes two finite steps in bfloat16, and learns.

Launches take two GPUs where there are two. `make cells` writes what ran into the tables of the documentation.
"""

import importlib.util
import math

import pytest
import torch

from tests.launching import ROOT, accelerate, launch
from tests.recipes.runs import RECIPES, Run, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

METHODS = {
    "SFT": "nll/tiny",
    "pairs": "dpo/tiny",
    "KTO": "kto/tiny",
    "SRPO": "srpo/tiny",
    "reward": "bradley_terry/tiny",
    "RL": "grpo/tiny",
}
PARAMETERS = {
    "full": (),
    "LoRA": ("model.adapter.rank=4",),
    "QLoRA": ("model.adapter.rank=4", "model.adapter.quantize=4bit"),
}
BFLOAT16 = "model.precision=bfloat16"
COLOCATED = ("train.use_vllm=true", "train.vllm_mode=colocate", "train.vllm_gpu_memory_utilization=0.2")


def needs(library):
    return pytest.mark.skipif(importlib.util.find_spec(library) is None, reason=f"needs {library}")


def cells(distribution, *kinds, trainers=tuple(METHODS)):
    """(trainer, parameters) as parameters of a test that fills these cells."""
    found = []
    for trainer in trainers:
        for kind in kinds:
            where = {"distribution": distribution, "device": "GPU", "shows": "trains"}
            marks = [pytest.mark.cell(trainer=trainer, parameters=kind, **where)]
            marks += [needs("bitsandbytes")] if kind == "QLoRA" else []
            found.append(pytest.param(trainer, kind, id=f"{trainer}-{kind}", marks=marks))
    return found


def assert_learned(run):
    assert len(run.losses) == 2
    assert all(math.isfinite(loss) for loss in run.losses)
    assert all(entry["grad_norm"] > 0 for entry in run.history if "loss" in entry)
    assert all(weight.isfinite().all() for weight in run.weights.values())


@pytest.mark.parametrize(("trainer", "parameters"), cells("one process", *PARAMETERS))
def test_one_gpu(trainer, parameters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_learned(train(METHODS[trainer], tmp_path / "out", BFLOAT16, *PARAMETERS[parameters]))


def launched(config, recipe, folder, *overrides):
    processes = min(2, torch.cuda.device_count())
    launcher = [*accelerate(RECIPES / "accelerate" / f"{config}.yaml"), f"--num_processes={processes}"]
    options = [f"train.output_dir={folder}", BFLOAT16, *overrides]
    result = launch([*launcher, str(ROOT / "scripts" / "train.py"), recipe, *options], folder.parent, seconds=600)
    assert result.returncode == 0, result.stdout + result.stderr
    run = Run(folder, result.stdout)
    assert run.provenance["world_size"] == processes
    return run


@pytest.mark.parametrize(("trainer", "parameters"), cells("DDP", "full", "LoRA"))
def test_data_parallel(trainer, parameters, tmp_path):
    assert_learned(launched("ddp", METHODS[trainer], tmp_path / "out", *PARAMETERS[parameters]))


@needs("deepspeed")
@pytest.mark.parametrize(("trainer", "parameters"), cells("ZeRO-2", "full", "LoRA"))
def test_zero2(trainer, parameters, tmp_path):
    assert_learned(launched("zero2", METHODS[trainer], tmp_path / "out", *PARAMETERS[parameters]))


@needs("deepspeed")
@pytest.mark.parametrize(("trainer", "parameters"), cells("ZeRO-3", "full", "LoRA"))
def test_zero3(trainer, parameters, tmp_path):
    assert_learned(launched("zero3", METHODS[trainer], tmp_path / "out", *PARAMETERS[parameters]))


@pytest.mark.parametrize(("trainer", "parameters"), cells("FSDP2", "full", "LoRA"))
def test_fsdp2(trainer, parameters, tmp_path):
    assert_learned(launched("fsdp2", METHODS[trainer], tmp_path / "out", *PARAMETERS[parameters]))


@needs("vllm")
@pytest.mark.parametrize(("trainer", "parameters"), cells("vLLM colocated", "full", "LoRA", trainers=("RL",)))
def test_vllm_in_the_process(trainer, parameters, tmp_path):
    """In a process of its own, since vLLM keeps the memory of its GPU to the end of it."""
    options = [f"train.output_dir={tmp_path / 'out'}", BFLOAT16, *COLOCATED, *PARAMETERS[parameters]]
    result = launch(["-m", "alignkit", "train", METHODS[trainer], *options], tmp_path, seconds=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert_learned(Run(tmp_path / "out", result.stdout))


@needs("flash_attn")
def test_flash_attention_is_sdpa(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kernels = ("sdpa", "flash_attention_2")
    sdpa, flash = (train("dpo/tiny", tmp_path / one, BFLOAT16, f"model.attention={one}") for one in kernels)
    assert flash.losses == pytest.approx(sdpa.losses, abs=0.02)


def test_a_trace_has_the_kernels(tmp_path, monkeypatch):
    import gzip
    import json

    monkeypatch.chdir(tmp_path)
    run = train("dpo/tiny", tmp_path / "out", BFLOAT16, "profile=true")
    with gzip.open(run.folder / "trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    assert any(event.get("cat") == "kernel" for event in events)

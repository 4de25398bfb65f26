import importlib.util

import pytest
import torch

from alignkit.models import precision
from alignkit.models.precision import attention_kernel, compute_dtype, device_type, trainer_precision
from alignkit.models.spec import ModelSpec


@pytest.fixture
def hardware(monkeypatch):
    """Pretend to be on this device: whether its GPU has bfloat16, and whether flash_attn is installed."""

    def pretend(device, bfloat16=False, flash=False, capability=(9, 0)):
        monkeypatch.setattr(precision, "device_type", lambda: device)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if flash else None)

    return pretend


def spec(**fields):
    return ModelSpec(path="owner/name", **fields)


@pytest.mark.parametrize(
    ("device", "bfloat16", "wanted", "dtype", "keys"),
    [
        ("cpu", False, "auto", torch.float32, {"bf16": False, "fp16": False, "use_cpu": True}),
        ("mps", False, "auto", torch.float32, {"bf16": False, "fp16": False, "use_cpu": False}),
        ("cuda", False, "auto", torch.float32, {"bf16": False, "fp16": False, "use_cpu": False}),
        ("cuda", True, "auto", torch.bfloat16, {"bf16": True, "fp16": False, "use_cpu": False}),
        ("cuda", True, "float32", torch.float32, {"bf16": False, "fp16": False, "use_cpu": False}),
        ("cuda", False, "float16", torch.float16, {"bf16": False, "fp16": True, "use_cpu": False}),
    ],
)
def test_precision_follows_the_hardware(hardware, device, bfloat16, wanted, dtype, keys):
    hardware(device, bfloat16)
    assert compute_dtype(spec(precision=wanted)) is dtype
    assert trainer_precision(spec(precision=wanted)) == keys


@pytest.mark.parametrize(
    ("device", "wanted", "message"),
    [
        ("cpu", "bfloat16", "precision = 'bfloat16' needs a GPU that computes in bfloat16; write auto or float32"),
        ("cuda", "bfloat16", "computes in bfloat16; write auto, float16 or float32"),
        ("cpu", "float16", "precision = 'float16' needs a GPU; write auto or float32"),
    ],
)
def test_a_precision_the_machine_lacks_is_refused(hardware, device, wanted, message):
    hardware(device)
    with pytest.raises(ValueError, match=message):
        trainer_precision(spec(precision=wanted))


def test_accelerate_can_ask_for_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    assert device_type() == "cuda"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert device_type() == "cpu"


def test_flash_attention_is_chosen_only_where_it_runs(hardware):
    hardware("cuda", bfloat16=True, flash=True)
    assert attention_kernel(spec()) == "flash_attention_2"
    assert attention_kernel(spec(), flash=False) is None  # a model that does not support it
    assert attention_kernel(spec(precision="float32")) is None
    assert attention_kernel(spec(attention="sdpa")) == "sdpa"
    hardware("cuda", bfloat16=True, flash=True, capability=(7, 5))
    assert attention_kernel(spec()) is None
    hardware("cuda", bfloat16=True, flash=False)
    assert attention_kernel(spec()) is None
    hardware("cpu", flash=True)
    assert attention_kernel(spec()) is None
    assert attention_kernel(spec(attention="flex_attention")) == "flex_attention"


@pytest.mark.parametrize("version", [2, 3])
def test_flash_attention_without_a_gpu_is_refused(hardware, version):
    hardware("cpu", flash=True)
    with pytest.raises(
        ValueError, match=f"'flash_attention_{version}' needs a GPU and bfloat16 or float16; write auto"
    ):
        attention_kernel(spec(attention=f"flash_attention_{version}"))

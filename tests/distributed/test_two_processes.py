"""Two processes on this machine's CPU train as one does: the same losses and the same weights.

Plain SGD, because AdamW divides by the size of gradients and so makes rounding errors of tiny ones large.
"""

from pathlib import Path
from shutil import which

import pytest
import torch

from tests.launching import ROOT, SECONDS, accelerate, launch, torchrun
from tests.recipes.runs import RECIPES, Run, train

pytestmark = pytest.mark.smoke

SCRIPT = str(ROOT / "scripts" / "train.py")
SAME_RUN = (
    "train.global_batch_size=4",
    "train.max_steps=4",
    "train.eval_steps=4",
    "train.optim=sgd",
    "train.learning_rate=0.05",
)
ADAPTER = ("model.adapter.rank=4",)
COMPILE = 300  # more seconds: on CPUs DeepSpeed compiles its shared-memory reduction when it runs first
needs_compiler = pytest.mark.skipif(which("c++") is None, reason="DeepSpeed needs a C++ compiler on CPUs")


def of_one(recipe: str, folder: Path, *overrides: str, micro: int = 4) -> Run:
    """The run in this process."""
    return train(recipe, folder, f"train.per_device_train_batch_size={micro}", *SAME_RUN, *overrides)


def of_two(
    launcher: list[str], recipe: str, folder: Path, *overrides: str, micro: int, seconds: int = SECONDS, **environ: str
) -> Run:
    """The run in the processes that `launcher` starts."""
    options = [f"train.output_dir={folder}", f"train.per_device_train_batch_size={micro}", *SAME_RUN, *overrides]
    result = launch([*launcher, SCRIPT, recipe, *options], folder.parent, seconds, **environ)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("\nmodel: ") == 1, "one process reports, the others are silent"
    return Run(folder, result.stdout)


def assert_same_training(two: Run, one: Run) -> None:
    assert two.provenance["world_size"] == 2
    assert one.provenance["world_size"] == 1
    assert len(one.losses) == 4
    assert len(set(one.losses)) == 4, "nothing was learned, so nothing is compared"
    for ours, expected in zip(two.history, one.history, strict=True):
        for name in ("loss", "eval_loss", "grad_norm", "rewards/margins", "logps/chosen", "num_tokens"):
            if name in expected:
                assert ours[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), (expected["step"], name)
    weights, expected_weights = two.weights, one.weights
    assert weights.keys() == expected_weights.keys()
    for name, tensor in expected_weights.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-6, msg=lambda said, name=name: name + said)


def test_data_parallel_with_accumulation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two = of_two(torchrun(2), "dpo/tiny", tmp_path / "two", micro=1, ACCELERATE_USE_CPU="true")
    assert_same_training(two, of_one("dpo/tiny", tmp_path / "one"))


def test_statistics_are_taken_over_both_processes(tmp_path, monkeypatch):
    """NaPO's q comes from the micro-batch on all ranks: two on each of two processes are four on one."""
    monkeypatch.chdir(tmp_path)
    config = RECIPES / "accelerate" / "ddp-cpu.yaml"
    two = of_two(accelerate(config), "napo/tiny", tmp_path / "two", micro=2)
    assert_same_training(two, of_one("napo/tiny", tmp_path / "one"))
    other_split = of_one("napo/tiny", tmp_path / "split", micro=2)
    assert two.losses != pytest.approx(other_split.losses, rel=1e-5), "statistics that make no difference show nothing"


@needs_compiler
def test_zero3_shards_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RECIPES / "accelerate" / "zero3-cpu.yaml"
    two = of_two(accelerate(config), "dpo/tiny", tmp_path / "two", micro=1, seconds=SECONDS + COMPILE)
    assert_same_training(two, of_one("dpo/tiny", tmp_path / "one"))
    shards = sorted(file.name for file in two.folder.glob("checkpoint-4/global_step*/*_model_states.pt"))
    assert shards == [f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt" for rank in (0, 1)]


@needs_compiler
def test_zero2_shards_the_optimizer_of_an_adapter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RECIPES / "accelerate" / "zero2-cpu.yaml"
    two = of_two(accelerate(config), "dpo/tiny", tmp_path / "two", *ADAPTER, micro=1, seconds=SECONDS + COMPILE)
    assert_same_training(two, of_one("dpo/tiny", tmp_path / "one", *ADAPTER))
    shards = sorted(file.name for file in two.folder.glob("checkpoint-4/global_step*/*_optim_states.pt"))
    assert [name for name in shards if "zero_pp_rank_1" in name]

"""How the commands end: the exit code says what a scheduler should do."""

import signal

import pytest
import torch
from safetensors import SafetensorError

from alignkit.trainers import Diverged, NotSaved, PairTrainer, RewardTrainer, _nonfinite
from tests.cli.commands import invoke

pytestmark = pytest.mark.smoke


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Diverged("the loss is not finite at step 3"), 3, "error: the loss is not finite at step 3"),
        (NotSaved("checkpoint-4 could not be written"), 4, "error: checkpoint-4 could not be written"),
        (OSError(28, "No space left on device", "out/x"), 4, "error: out/x: No space left on device; make room or"),
        (OSError(30, "Read-only file system", "out/x"), 4, "error: out/x: Read-only file system; make room or"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            4,
            "make room or",
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), 4, "What to change: halve train.per_device_train_batch_size"),
        (RuntimeError("CUDA error: out of memory"), 4, "What to change: halve train.per_device_train_batch_size"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), 4, "out of memory: CUDA"),
        (MemoryError(), 4, "What to change: halve train.per_device_train_batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 4, "out of memory: "),
    ],
)
def test_what_stops_a_run_has_its_code(error, code, said, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(PairTrainer, "compute_loss", fail)
    result = invoke("train", "dpo/tiny")
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "out/x"), "error: out/x: No space left on device; make room or"),
        (SafetensorError("I/O error: File too large (os error 27)"), "error: a file that was written: File too large;"),
        (MemoryError("cannot"), "error: out of memory: cannot. What to change: fewer texts at a time"),
        (torch.OutOfMemoryError("CUDA out of memory"), "What to change: fewer texts at a time"),
    ],
)
@pytest.mark.parametrize("command", ["merge", "convert"])
def test_so_do_other_commands(command, error, said, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("alignkit.models.merge.merge", fail)
    monkeypatch.setattr("alignkit.recipe.convert.convert", fail)
    (tmp_path / "file").write_text("a: 1")
    result = invoke(command, "file", "-o", "out")
    assert (result.exit_code, "Traceback" in result.stderr) == (4, False)
    assert said in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_before_the_first_step(number, monkeypatch):
    def asked(*args, **kwargs):
        signal.raise_signal(number)

    before = signal.getsignal(number)
    monkeypatch.setattr("alignkit.recipe.run.build", asked)
    result = invoke("train", "dpo/tiny")
    assert (result.exit_code, "stopped before the first step" in result.stderr) == (75, True)
    assert signal.getsignal(number) is before


def test_a_defect_in_a_member_keeps_its_traceback(monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("a defect")

    monkeypatch.setattr(RewardTrainer, "compute_loss", fail)
    with pytest.raises(ValueError, match="a defect"):
        invoke("train", "bradley_terry/tiny", "ensemble={size: 2, form: lora}")


def test_a_defect_keeps_its_traceback(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a defect")

    monkeypatch.setattr(PairTrainer, "compute_loss", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        invoke("train", "dpo/tiny")


def test_a_deepspeed_that_would_not_look_at_gradients(monkeypatch):
    def refuse(plugin):
        raise ValueError(f"DeepSpeed: {plugin}")

    monkeypatch.setattr(_nonfinite, "refuse_unchecked", refuse)
    result = invoke("train", "dpo/tiny")
    assert result.exit_code == 2
    assert "error: DeepSpeed: None" in result.stderr


def test_an_output_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    result = invoke("train", "dpo/tiny", "train.output_dir=file/run")
    assert result.exit_code == 4
    assert "file/run" in result.stderr

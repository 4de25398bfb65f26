"""Memory as it is estimated, and as runs then need it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from alignkit.models.tiny import byte_tokenizer
from alignkit.recipe import load
from alignkit.recipe.estimate import estimate as module
from alignkit.recipe.estimate.activations import Working
from alignkit.recipe.estimate.estimate import Estimate, duration, estimate, size
from alignkit.recipe.estimate.memory import Memory, Model, memory
from alignkit.recipe.estimate.pace import Pace, exchanged
from alignkit.recipe.preview import preview
from tests.launching import ROOT, launch

METHODS = ("dpo", "nll", "kto", "srpo", "poft", "bradley_terry", "plackett_luce")
TRAINS_AND_SAYS_ITS_PEAK = """
import sys
from pathlib import Path
from alignkit.recipe import load
from alignkit.recipe.build import build
build(load(sys.argv[1], sys.argv[2:])).train()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(1024 * int(status["VmHWM"].split()[0]))  # unlike ru_maxrss it leaves out what started this process
"""
ARGS = SimpleNamespace(gradient_accumulation_steps=1, device=torch.device("cpu"))
MODEL = Model(weights=400, parameters=100, trained=100, optimizer=800, frozen=False)
WORKING = Working(activations=50, head=10, with_gradients=300, asked=0)


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_trainer_is_traced(method):
    recipe = load(f"{method}/tiny")
    found = estimate(recipe, preview(recipe), timed=False)
    assert isinstance(found.memory, Memory), found.memory
    assert found.memory.activations > 10 * found.memory.weights, "thousands of tokens through a tiny model"
    assert found.memory.optimizer == 2 * found.memory.gradients
    assert (found.memory.reference > 0) == recipe.objective.needs_reference


def test_longer_answers_need_more():
    peaks = []
    for length in (64, 256):
        recipe = load("nll/tiny", [f"train.max_length={length}"])
        peaks.append(estimate(recipe, preview(recipe), timed=False).memory.activations)
    assert 3 < peaks[1] / peaks[0] < 5


@pytest.mark.parametrize(
    ("processes", "zero", "expected"),
    [
        (1, 0, {"weights": 400, "reference": 400, "gradients": 340, "optimizer": 800, "buffers": 0}),
        (2, 0, {"weights": 400, "reference": 400, "gradients": 340, "optimizer": 800, "buffers": 400}),
        (4, 2, {"weights": 500, "reference": 400, "gradients": 400, "optimizer": 200, "buffers": 400}),
        (4, 3, {"weights": 200, "reference": 100, "gradients": 100, "optimizer": 200, "buffers": 2400}),
    ],
)
def test_what_each_process_holds(processes, zero, expected):
    found = memory(load("dpo/tiny"), ARGS, MODEL, WORKING, processes=processes, zero=zero)
    assert vars(found) == {"activations": 50, "head": 10, "allocator": 0, **expected}
    assert found.peak == sum(expected.values()) + 60


def test_time_is_that_of_micro_batches_updates_and_exchange():
    recipe = load("dpo/tiny")
    args = SimpleNamespace(gradient_accumulation_steps=3, device=torch.device("cpu"))
    pace = Pace(micro_batch=2.0, update=0.5)
    large = replace(MODEL, weights=4 * 10**8, trained=10**8)
    assert pace.step(recipe, args, large, processes=1, zero=0) == 6.5
    assert pace.step(recipe, args, large, processes=2, zero=0) == 6.5 + 2.0
    assert exchanged(3, 2, large, 2) == 4 * 4 * 10**8
    assert pace.step(recipe, args, large, processes=2, zero=3) == 6.25 + 0.5 * (3 + 9) * 2


def test_a_model_that_cannot_be_traced_is_said_in_a_line(monkeypatch):
    def fails(*_):
        raise RuntimeError("values\nof activations")

    monkeypatch.setattr(module, "working_memory", fails)
    recipe = load("dpo/tiny")
    found = estimate(recipe, preview(recipe), timed=False)
    assert found.rows(3) == [
        ("memory a process", "not estimated: RuntimeError in the model's forward"),
        ("time", "not estimated: left out"),
    ]


def test_numbers_are_said_in_units():
    assert [size(count) for count in (5, 2048, 1.5 * 2**20, 1010 * 2**20)] == ["5 B", "2 KiB", "1.5 MiB", "1,010 MiB"]
    assert [duration(seconds) for seconds in (0.123, 42.2, 180, 9000)] == ["0.12 s", "42 s", "3 min", "2.5 hours"]
    found = Estimate(memory="no", seconds=2.0).rows(steps=90)
    assert found[1] == ("time", "about 2 s a step on this machine, 3 min in all")


@pytest.mark.smoke
@pytest.mark.more
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux")
def test_a_run_needs_what_was_estimated(tmp_path):
    """Beyond what a run of a tiny model needs, which is Python and its libraries."""
    tokenizer = byte_tokenizer()
    sizes = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 4, "num_attention_heads": 12}
    ends = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model("llama", **sizes, **ends, pad_token_id=tokenizer.pad_token_id)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    same = ["train.max_length=160", "train.save_strategy=no", "train.eval_strategy=no", "summary.answers=0"]
    same += ["train.global_batch_size=2", f"train.output_dir={tmp_path / 'out'}"]
    recipe = load("dpo/tiny", [*same, f"model.path={tmp_path / 'model'}"])
    found = estimate(recipe, preview(recipe), timed=False)
    program = ["-c", TRAINS_AND_SAYS_ITS_PEAK, str(ROOT / "recipes/dpo/tiny.yaml"), *same]
    peaks = []
    for path in (tmp_path / "model", "tiny:llama"):
        result = launch([*program, f"model.path={path}"], tmp_path)
        assert result.returncode == 0, result.stderr
        peaks.append(int(result.stdout.splitlines()[-1]))
    assert found.memory.peak == pytest.approx(peaks[0] - peaks[1], rel=0.2)

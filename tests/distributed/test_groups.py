"""GroupTrainer in two processes: TRL's losses and gradients, step by step; a recorded run replayed."""

import json

import pytest

from tests.launching import launch, torchrun

pytestmark = pytest.mark.smoke

PROGRAM = """
import json, sys
from pathlib import Path
from trl import GRPOTrainer
from trl.trainer import grpo_trainer
from alignkit.objectives import make
from alignkit.trainers import GroupTrainer
from tests.trainers.runs import group_trainer

grpo_trainer.shuffle_sequence_dict = lambda rows: rows  # the same micro-batches for both
folder, args, history = Path(sys.argv[1]), {"steps_per_generation": 2, "num_iterations": 2}, []
ours = {"args": args, "objective": make("grpo", beta=0.1, scaling="batch"), "shared_prefix": False}
drawn = {"args": args, "objective": make("gvpo")}
for name, trainer, options in (
    ("theirs", GRPOTrainer, {"args": {**args, "beta": 0.1, "scale_rewards": "batch"}}),
    ("ours", GroupTrainer, ours),
    ("drawn", GroupTrainer, {**drawn, "record": True}),
    ("read", GroupTrainer, {**drawn, "samples": folder / "drawn" / "samples.jsonl", "reward_funcs": None}),
):
    run = group_trainer(folder / name, trainer, **options)
    run.train()
    names = ("loss", "grad_norm", "entropy", "kl")
    history.append([{name: entry[name] for name in names} for entry in run.state.log_history[:-1]])
    world = run.accelerator.num_processes
if run.is_world_process_zero():
    (folder / "history.json").write_text(json.dumps({"world": world, "history": history}))
"""


@pytest.mark.matrix
def test_two_processes_are_trl_step_by_step(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    result = launch([*torchrun(2), str(program), str(tmp_path)], tmp_path, ACCELERATE_USE_CPU="true")
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "history.json").read_text())
    assert found["world"] == 2
    theirs, ours, drawn, read = found["history"]
    assert drawn == read  # every rank finds the recorded answers to its prompts
    assert len(theirs) == 4
    for trl, mine in zip(theirs, ours, strict=True):
        assert mine == pytest.approx(trl, abs=1e-5)
    assert max(entry["grad_norm"] for entry in theirs) > 0.1

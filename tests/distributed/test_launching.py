"""`accelerate launch` on one process, and launches that would not be what they say."""

import re

import pytest

from tests.launching import ROOT, accelerate, launch
from tests.recipes.runs import RECIPES, Run, train

pytestmark = pytest.mark.smoke

SCRIPT = str(ROOT / "scripts" / "train.py")
CPU_CONFIG = """\
compute_environment: LOCAL_MACHINE
distributed_type: {kind}
use_cpu: true
mixed_precision: "no"
num_machines: 1
num_processes: 2
"""


def test_one_process_is_the_command_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RECIPES / "accelerate" / "single-cpu.yaml"
    result = launch([*accelerate(config), SCRIPT, "dpo/tiny", "train.output_dir=launched"], tmp_path)
    assert result.returncode == 0, result.stderr
    launched, here = Run(tmp_path / "launched", result.stdout), train("dpo/tiny", tmp_path / "here")
    assert launched.provenance["world_size"] == 1
    assert launched.history == here.history
    name = "model.safetensors"
    assert (launched.folder / name).read_bytes() == (here.folder / name).read_bytes()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("MULTI_CPU", "accelerate was asked for several processes and started one"),
        ("FSDP", "FSDP was asked to shard the model, but this run is MULTI_CPU"),
    ],
)
def test_what_accelerate_would_do_otherwise_in_silence_is_refused(kind, said, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(CPU_CONFIG.format(kind=kind), encoding="utf-8")
    result = launch([*accelerate(config), SCRIPT, "dpo/tiny"], tmp_path)
    assert result.returncode != 0  # accelerate's own, whose traceback follows ours
    (line, *_) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert said in line
    assert "recipes/accelerate" in line
    assert re.search(r"exit status 2|exitcode\s*: 2", result.stderr)
    assert not (tmp_path / "runs").exists()

"""`scripts/torchrun.sh` on two nodes, which here are one machine."""

import subprocess

import pytest

from tests.launching import ROOT, SECONDS, environment, free_port
from tests.recipes.runs import Run

pytestmark = pytest.mark.smoke


@pytest.mark.matrix
def test_nodes_meet_and_train_one_model(tmp_path):
    command = [str(ROOT / "scripts" / "torchrun.sh"), "2", f"127.0.0.1:{free_port()}", "dpo/tiny"]
    command += ["train.output_dir=out", "train.per_device_train_batch_size=1", "train.global_batch_size=4"]
    env = environment(PROCESSES="1", ACCELERATE_USE_CPU="true")
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    nodes = [subprocess.Popen(command, cwd=tmp_path, env=env, **pipe) for _ in range(2)]
    try:
        said = [node.communicate(timeout=SECONDS) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], said
    assert sum(out.count("\nmodel: ") for out, _ in said) == 1
    run = Run(tmp_path / "out", "")
    assert run.provenance["world_size"] == 2
    assert len(run.losses) == 2

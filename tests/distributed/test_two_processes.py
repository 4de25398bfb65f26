"""The command on two processes of this machine's CPU trains as on one, and one process speaks."""

import pytest
import torch

from tests.launching import ROOT, launch, torchrun
from tests.recipes.runs import Run, train

pytestmark = pytest.mark.smoke

SAME_RUN = ("train.global_batch_size=4", "train.max_steps=4", "train.eval_steps=4")
SGD = ("train.optim=sgd", "train.learning_rate=0.05")


@pytest.mark.matrix
def test_the_command_trains_as_on_one_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["train.per_device_train_batch_size=1", *SAME_RUN, *SGD]
    script = [str(ROOT / "scripts" / "train.py"), "dpo/tiny", f"train.output_dir={tmp_path / 'two'}", *options]
    result = launch([*torchrun(2), *script], tmp_path, ACCELERATE_USE_CPU="true")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("\nmodel: ") == 1, "one process reports, the others are silent"
    two = Run(tmp_path / "two", result.stdout)
    one = train("dpo/tiny", tmp_path / "one", *options)
    assert (two.provenance["world_size"], one.provenance["world_size"]) == (2, 1)
    assert two.losses == pytest.approx(one.losses, rel=1e-5)
    assert len(set(one.losses)) == 4, "nothing was learned, so nothing is compared"
    for name, tensor in one.weights.items():
        torch.testing.assert_close(two.weights[name], tensor, rtol=0, atol=2e-6)

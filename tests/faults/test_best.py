"""The best of all checkpoints and the last one: both stay, and the best is believed no more than any other."""

import signal

import pytest
from torch import equal

from alignkit import checkpoints
from alignkit.trainers import Interrupted, NotSaved
from tests.faults.runs import At, trainer

pytestmark = pytest.mark.smoke

# the highest loss counts as the best, so the first checkpoint is
FIRST_IS_BEST = (
    "train.max_steps=6",
    "train.learning_rate=1e-2",
    "train.save_strategy=steps",
    "train.save_steps=2",
    "train.save_total_limit=1",
    "train.eval_steps=2",
    "train.load_best_model_at_end=true",
    "train.metric_for_best_model=eval_loss",
    "train.greater_is_better=true",
)


def names(folder):
    return [path.name for path in checkpoints.found(folder)]


@pytest.fixture
def run(tmp_path):
    return trainer("dpo/tiny", tmp_path, *FIRST_IS_BEST)


def test_the_best_is_the_model_and_the_last_stays_to_go_on_from(run, tmp_path):
    best = {}

    def note():
        best.update({name: tensor.clone() for name, tensor in run.model.state_dict().items()})

    run.add_callback(At("on_step_end", 2, note))
    run.train()
    assert names(tmp_path) == ["checkpoint-6", "checkpoint-2"]
    assert all(equal(tensor, best[name]) for name, tensor in run.model.state_dict().items())


def test_what_a_signal_saved_stays(run, tmp_path):
    run.add_callback(At("on_step_begin", 4, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted, match="stopped and saved at step 5"):
        run.train()
    assert names(tmp_path) == ["checkpoint-5", "checkpoint-2"]
    assert checkpoints.damage(tmp_path / "checkpoint-5") is None


@pytest.mark.parametrize("forged", [False, True], ids=["damaged", "forged"])
def test_a_best_one_that_is_not_what_was_saved_is_not_read(run, tmp_path, forged):
    def change():
        file = tmp_path / "checkpoint-2" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
        if forged:
            for name in (checkpoints.SIGNATURE, checkpoints.MANIFEST):
                (file.parent / name).unlink()
            checkpoints.seal(file.parent)
            (file.parent / checkpoints.SIGNATURE).write_text("0" * 64)

    run.add_callback(At("on_step_begin", 5, change))
    why = "it was signed with another key" if forged else "model.safetensors is not what was written"
    with pytest.raises(NotSaved, match=rf"checkpoint-2, is not read: {why}.*load_best_model_at_end: false"):
        run.train()
    assert names(tmp_path) == ["checkpoint-6", "checkpoint-2"]


def test_weights_alone_are_not_all_that_a_signal_saves(tmp_path):
    run = trainer("dpo/tiny", tmp_path, *FIRST_IS_BEST[:4], "train.save_only_model=true", "train.eval_strategy=no")
    run.add_callback(At("on_step_begin", 2, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        run.train()
    assert [checkpoints.holds_weights_alone(path) for path in checkpoints.found(tmp_path)] == [False, True]

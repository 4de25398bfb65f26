"""Signals: the step is finished, all ranks save, and the run goes on as if nothing had been."""

import signal
from pathlib import Path

import pytest
from torch import equal

from alignkit import checkpoints
from alignkit.trainers import Interrupted, _interruption
from tests.faults.runs import SAVED, At, logged, trainer

pytestmark = pytest.mark.smoke

SIX = (*SAVED, "train.max_steps=6", "train.save_steps=100")
EVALUATED = ("train.eval_strategy=steps", "train.eval_steps=4", "train.per_device_eval_batch_size=2")


def written(*more: str) -> list[str]:
    """The options of a run, later ones instead of earlier ones."""
    pairs = dict(option.partition("=")[::2] for option in (*SIX, *more))
    return [f"{key}={value}" for key, value in pairs.items()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = trainer("dpo/tiny", tmp_path_factory.mktemp("whole"), *written())
    run.train()
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_in_training(number, whole, tmp_path):
    before = signal.getsignal(number)
    run = trainer("dpo/tiny", tmp_path, *written())
    run.add_callback(At("on_substep_end", 2, lambda: signal.raise_signal(number)))  # in the third step
    with pytest.raises(Interrupted, match=r"^stopped and saved at step \d; --resume auto goes on$"):
        run.train()
    assert run.interrupted
    assert signal.getsignal(number) is before
    assert [path.name for path in checkpoints.found(tmp_path)] == ["checkpoint-3"]
    assert not (tmp_path / "summary.html").exists()
    resumed = trainer("dpo/tiny", tmp_path, *written(), checkpoint=tmp_path / "checkpoint-3")
    resumed.train(resume_from_checkpoint=tmp_path / "checkpoint-3")
    assert not resumed.interrupted
    assert logged(resumed) == logged(whole)
    expected = whole.model.state_dict()
    assert all(equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())


def test_in_evaluation(whole, tmp_path):
    run = trainer("dpo/tiny", tmp_path, *written(*EVALUATED))
    run.add_callback(At("on_prediction_step", 4, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted, match=r"^stopped and saved at step \d; --resume auto goes on$"):
        run.train()
    assert run.interrupted
    assert [path.name for path in checkpoints.found(tmp_path)] == ["checkpoint-4"]
    assert checkpoints.damage(tmp_path / "checkpoint-4") is None
    resumed = trainer("dpo/tiny", tmp_path, *written(*EVALUATED))
    resumed.train(resume_from_checkpoint=tmp_path / "checkpoint-4")
    assert logged(resumed) == logged(whole)


BEST = (
    *("train.max_steps=4", "train.save_steps=2", "train.eval_steps=2", "train.load_best_model_at_end=true"),
    *("train.metric_for_best_model=eval_loss", "train.learning_rate=1e-2"),
)


@pytest.mark.parametrize("step", [2, 4])
def test_an_evaluation_that_is_put_off_is_made_up_for(step, tmp_path):
    """With all that follows from it: which checkpoint is the best one, and so the model at the end."""
    options = written(*EVALUATED, *BEST)
    whole = trainer("dpo/tiny", tmp_path / "whole", *options)
    whole.train()
    run = trainer("dpo/tiny", tmp_path / "run", *options)
    run.add_callback(At("on_substep_end", step - 1, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        run.train()
    checkpoint = tmp_path / "run" / f"checkpoint-{step}"
    assert [entry["step"] for entry in run.state.log_history if "eval_loss" in entry] == [2][: step // 2 - 1]
    resumed = trainer("dpo/tiny", tmp_path / "run", *options, checkpoint=checkpoint)
    resumed.train(resume_from_checkpoint=checkpoint)
    assert measured(resumed) == measured(whole)
    assert len(measured(whole)) == 6
    assert Path(resumed.state.best_model_checkpoint).name == Path(whole.state.best_model_checkpoint).name
    expected = whole.model.state_dict()
    assert all(equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())


@pytest.mark.parametrize("step", [3, 4])
def test_so_is_one_at_the_end_of_an_epoch(step, tmp_path):
    """Of four steps; training that stops within it evaluates when it is at the end."""
    options = written(*EVALUATED, "train.eval_strategy=epoch")
    whole = trainer("dpo/tiny", tmp_path / "whole", *options)
    whole.train()
    assert [at for at, _, evaluated in measured(whole) if evaluated is not None] == [4, 6]
    run = trainer("dpo/tiny", tmp_path / "run", *options)
    run.add_callback(At("on_substep_end", step - 1, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        run.train()
    assert len(measured(run)) == step
    checkpoint = tmp_path / "run" / f"checkpoint-{step}"
    resumed = trainer("dpo/tiny", tmp_path / "run", *options, checkpoint=checkpoint)
    resumed.train(resume_from_checkpoint=checkpoint)
    assert measured(resumed) == measured(whole)


def measured(run):
    """Losses of steps and evaluations, in their order."""
    return [
        (entry["step"], entry.get("loss"), entry.get("eval_loss"))
        for entry in run.state.log_history
        if "loss" in entry or "eval_loss" in entry
    ]


def test_a_checkpoint_is_not_replaced_before_the_first_step_after_it(tmp_path):
    """transformers takes up its random numbers with that step, and would save others."""
    options = written(*EVALUATED, "train.eval_on_start=true")
    first = trainer("dpo/tiny", tmp_path, *options)
    first.add_callback(At("on_substep_end", 2, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        first.train()
    before = {file.name: file.read_bytes() for file in (tmp_path / "checkpoint-3").iterdir()}
    again = trainer("dpo/tiny", tmp_path, *options)
    again.add_callback(At("on_prediction_step", 3, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        again.train(resume_from_checkpoint=tmp_path / "checkpoint-3")
    assert {file.name: file.read_bytes() for file in (tmp_path / "checkpoint-3").iterdir()} == before


def test_training_that_begins_again_with_smaller_batches_gives_the_signals_back():
    before = signal.getsignal(signal.SIGTERM)
    interruption = _interruption.Interruption()
    for _ in range(2):  # as after memory was too small, with auto_find_batch_size
        interruption.on_train_begin(None, None, None)
    interruption.release()
    assert signal.getsignal(signal.SIGTERM) is before


def test_while_saving(tmp_path):
    """The save that is under way is finished, and the step after it is the last."""
    run = trainer("dpo/tiny", tmp_path, *written("train.save_steps=2"))
    beside = run.beside_checkpoint

    def with_a_signal(checkpoint):  # weights are written, and not yet sealed
        if checkpoint.name == "checkpoint-2":
            signal.raise_signal(signal.SIGTERM)
        beside(checkpoint)

    run.beside_checkpoint = with_a_signal
    with pytest.raises(Interrupted, match=r"^stopped and saved at step \d; --resume auto goes on$"):
        run.train()
    assert run.interrupted
    assert [path.name for path in checkpoints.found(tmp_path)] == ["checkpoint-3", "checkpoint-2"]
    assert checkpoints.damage(tmp_path / "checkpoint-2") is None


def twice():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


def test_two_at_once_are_one_request(tmp_path):
    """As of a scheduler that tells the launcher, which tells its processes, and the processes."""
    run = trainer("dpo/tiny", tmp_path, *written())
    run.add_callback(At("on_substep_end", 2, twice))
    with pytest.raises(Interrupted):
        run.train()
    assert [path.name for path in checkpoints.found(tmp_path)] == ["checkpoint-3"]


def test_a_second_one_takes_its_usual_effect(tmp_path, monkeypatch):
    """Which is Python's own: processes that run tests side by side may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(_interruption, "ONE_REQUEST", 0.0)
    run = trainer("dpo/tiny", tmp_path, *written())
    run.add_callback(At("on_substep_end", 2, twice))
    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            run.train()
        assert not isinstance(raised.value, Interrupted)
    finally:
        signal.signal(signal.SIGINT, before)
    assert checkpoints.found(tmp_path) == []


def test_without_a_signal_nothing_is_interrupted(whole):
    assert not whole.interrupted


def test_a_run_that_is_done_takes_no_step_more(whole, tmp_path):
    """As where a scheduler gives the same command again; the last step is within an epoch."""
    checkpoint = Path(whole.args.output_dir) / "checkpoint-6"
    again = trainer("dpo/tiny", tmp_path, *written(), checkpoint=checkpoint)
    again.train(resume_from_checkpoint=checkpoint)
    assert again.state.global_step == 6
    assert logged(again) == logged(whole)
    expected = whole.model.state_dict()
    assert all(equal(tensor, expected[name]) for name, tensor in again.model.state_dict().items())

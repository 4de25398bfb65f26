"""A loss that leaps is said."""

import logging

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from alignkit.recipe.spikes import SpikeWarning


@pytest.fixture
def logged(tmp_path, caplog):
    """Log losses one after the other; returns the steps that were warned of."""
    args, watch = TrainingArguments(output_dir=str(tmp_path)), SpikeWarning()

    def log(losses):
        with caplog.at_level(logging.WARNING):
            for step, loss in enumerate(losses, 1):
                watch.on_log(args, TrainerState(global_step=step), TrainerControl(), logs={"loss": loss})
        return [record.getMessage() for record in caplog.records]

    return log


def test_a_leap_is_warned_of_once_with_its_size(logged):
    (said,) = logged([0.69, 0.7] * 10 + [7.0, 0.69])
    assert said.startswith("step 21: the loss leapt to 7; it was 0.695, give or take 0.005.")


@pytest.mark.parametrize(
    "losses",
    [
        [0.69, 0.7] * 7 + [7.0],  # too few to know what is usual
        [0.69, 0.7] * 10 + [0.72],
        [2.0 - 0.01 * step for step in range(100)],
        [],
    ],
)
def test_what_is_usual_is_not(logged, losses):
    assert logged(losses) == []


def test_logs_without_a_loss_do_not_count(tmp_path):
    watch = SpikeWarning()
    watch.on_log(TrainingArguments(output_dir=str(tmp_path)), TrainerState(), TrainerControl(), logs={"eval_loss": 1.0})
    assert not watch.losses

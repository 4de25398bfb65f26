"""A loss that leaps: a warning, since the step is done and only its cause can be mended."""

import logging
import statistics
from collections import deque
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

WINDOW = 128  # logged losses
FEWEST = 16  # before which nothing is unusual
DEVIATIONS = 6.0


class SpikeWarning(TrainerCallback):
    """Warns of a logged loss more than six standard deviations above the mean of the last 128."""

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=WINDOW)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or not state.is_world_process_zero:
            return
        if len(self.losses) >= FEWEST:
            mean, deviation = statistics.fmean(self.losses), statistics.pstdev(self.losses)
            if loss > mean + DEVIATIONS * max(deviation, 1e-12):
                logger.warning(
                    "step %d: the loss leapt to %.4g; it was %.4g, give or take %.2g. Look at the rows of this step, "
                    "or write a smaller train.learning_rate or train.max_grad_norm",
                    *(state.global_step, loss, mean, deviation),
                )
        self.losses.append(loss)

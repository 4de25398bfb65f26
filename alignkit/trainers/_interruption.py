"""An orderly stop: a signal to any rank makes all of them save and end after the step they are in.

Schedulers send SIGTERM or SIGUSR1 some seconds before they kill; Ctrl-C is a user's. A second one takes its usual
effect, and can do no harm: a checkpoint that is being written is aside.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """Training ended after a signal, and what it had done is saved.

    A KeyboardInterrupt, so that whoever trains and then goes on (with the next member of an ensemble, with a report) is
    stopped too, unless it says otherwise.
    """


class StoppedInEvaluation(Exception):
    """Raised out of an evaluation loop, which has no other way out."""


class Interruption(TrainerCallback):
    """Notes signals while training runs."""

    def __init__(self) -> None:
        self.stopped = False
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._training = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.stopped, self._received, self._training = False, None, True
        if threading.current_thread() is threading.main_thread():  # Python takes handlers from no other
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._anywhere(args):
            self.stopped = True
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False  # the time that is left is for the checkpoint

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._training and self._anywhere(args):
            self.stopped = True
            raise StoppedInEvaluation

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the signals back to whoever had them."""
        self._training = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: Any) -> None:
        self._received = signal.Signals(number)
        signal.signal(number, self._before[self._received])
        logger.warning("%s: saving and stopping after this step", self._received.name)

    def _anywhere(self, args: TrainingArguments) -> bool:
        """Whether any rank has received one; all ranks ask together."""
        if args.world_size == 1:
            return self._received is not None
        flag = torch.tensor(float(self._received is not None), device=args.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)


@contextmanager
def to_the_end(then: str) -> Iterator[None]:
    """Finish what is within although a signal comes, and end with the message `then`; a second has its usual effect.

    Raises:
        Interrupted: one came.
    """
    received: list[str] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        received.append(signal.Signals(number).name)
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise Interrupted(f"{received[0]}: {then}")

"""An orderly stop: a signal to any rank makes all of them save and end after the step they are in.

Schedulers send SIGTERM or SIGUSR1 some seconds before they kill; Ctrl-C is a user's. A second one of a kind takes its
usual effect, and can do no harm: a checkpoint that is being written is aside. What comes at once after the first is no
second one: schedulers and terminals tell launcher and processes, and the launcher tells the processes again.
"""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignkit.stop_signals import give_back, take

logger = logging.getLogger(__name__)

ONE_REQUEST = 3.0  # seconds, in which signals of one kind are the same request


class Interrupted(KeyboardInterrupt):
    """Training ended after a signal, and what it had done is saved.

    A KeyboardInterrupt, so that whoever trains and then goes on (with the next member of an ensemble, with a report) is
    stopped too, unless it says otherwise.
    """


class StoppedInEvaluation(Exception):
    """Raised out of an evaluation loop, which has no other way out."""


class Requests:
    """Signals that ask to stop: noted while they are listened for, where they would have had their usual effect."""

    def __init__(self, answer: str) -> None:
        self.answer = answer  # what is logged at the first of a kind
        self.first: dict[signal.Signals, float] = {}  # when it came
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        self.first = {}
        self._before = take(self._note)

    def release(self) -> None:
        """Give the signals back to whoever had them."""
        give_back(self._before)
        self._before = {}

    def _note(self, number: int, frame: Any) -> None:
        kind, now = signal.Signals(number), time.monotonic()
        if kind not in self.first:
            self.first[kind] = now
            logger.warning("%s: %s", kind.name, self.answer)
        elif now - self.first[kind] > ONE_REQUEST:
            signal.signal(kind, self._before[kind])
            signal.raise_signal(kind)


class Interruption(TrainerCallback):
    """Notes signals while training runs."""

    def __init__(self) -> None:
        self.stopped = False
        self.owes = False  # the evaluation of the step that training stops after
        self._requests = Requests("saving and stopping after this step")
        self._training = False

    @property
    def asked(self) -> bool:
        """Whether this process was asked to stop since training began; others may not know yet."""
        return bool(self._requests.first)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.stopped = self.owes = False
        if not self._training:  # else it begins again, with a smaller batch, and listens already
            self._training = True
            self._requests.listen()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._anywhere(args):
            self.stopped = True
            control.should_save = control.should_training_stop = True
            self._put_off(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.stopped:
            if float(state.epoch or 0).is_integer():
                self._put_off(control)
                control.should_save |= self.owes
            control.should_evaluate = False  # training that goes on in the middle of an epoch evaluates at its end

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._training and self._anywhere(args):
            self.stopped, self.owes = True, state.global_step > 0  # before the first step it is asked for again anyway
            raise StoppedInEvaluation

    def _put_off(self, control: TrainerControl) -> None:
        """The time that is left is for the checkpoint; a run that goes on from it evaluates first."""
        self.owes |= control.should_evaluate
        control.should_evaluate = False

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the signals back to whoever had them."""
        self._training = False
        self._requests.release()

    def _anywhere(self, args: TrainingArguments) -> bool:
        """Whether any rank has received one; all ranks ask together."""
        if args.world_size == 1:
            return self.asked
        flag = torch.tensor(float(self.asked), device=args.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)


@contextmanager
def to_the_end(then: str) -> Iterator[None]:
    """Finish what is within although a signal comes, and end with the message `then`; a second has its usual effect.

    Raises:
        Interrupted: one came.
    """
    requests = Requests("saving to the end, and stopping")
    requests.listen()
    try:
        yield
    finally:
        requests.release()
    if requests.first:
        raise Interrupted(f"{next(iter(requests.first)).name}: {then}")

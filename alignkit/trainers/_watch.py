"""Who is missing: on several processes, each watches that all go on, and stops with the name of the one that does not.

A rank that hangs leaves the others in a collective that waits for half an hour and names nobody. Every process counts
its steps and micro-batches in torch's store, from a thread; when none has moved for long, each looks who is furthest
behind. One that moves lets the others wait: the first process evaluates checkpoints alone. A rank that died is named by
its launcher, which stops the others at once.

The store is on the first rank's host. A rank that loses it goes on while it moves itself, since then the collectives
between its steps work and the others are there; nothing would be gained by ending it. Once it does not move, that host
is what is missing.
"""

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

EXIT_CODE = 75  # the newest checkpoint is whole
BEATS = 20  # looks at the others, in the time after which a rank counts as missing
NO_STORE = "torch's store does not answer: the first rank's host, or the launcher there, is gone"


@dataclass
class Word:
    """What a rank said last; times are this process's."""

    text: str = ""
    host: str = "an unknown host"
    done: int = 0
    spoke: float = 0.0  # when it last said something new
    moved: float = 0.0  # when it last had done more

    def hear(self, text: str, now: float) -> None:
        if text == self.text:
            return
        host, done, _ = text.split()
        if int(done) != self.done:
            self.moved = now
        self.text, self.host, self.done, self.spoke = text, host, int(done), now


class Watch(TrainerCallback):
    """Counts what this rank does while training runs, and ends the process when nothing moves for `seconds`."""

    def __init__(self) -> None:
        self.seconds = 1800.0
        self.done = 0  # steps, micro-batches, evaluation batches, answers and judgments
        self._moved = time.monotonic()
        self._stop = threading.Event()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.world_size > 1:
            # a connection of its own: the default one is held by a collective that waits
            store = dist.TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                is_master=False,
                timeout=timedelta(seconds=self.seconds),
            )
            self.start(store, dist.get_rank(), args.world_size)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.release()

    def start(self, store: Any, rank: int, ranks: int) -> None:
        """Talk and watch in a thread each: a store whose host is gone may neither answer nor fail."""
        self.release()  # where training begins again, with a smaller batch
        self._moved = time.monotonic()
        self._stop = threading.Event()  # the threads of an earlier training keep theirs
        words = [Word(spoke=self._moved, moved=self._moved) for _ in range(ranks)]
        threading.Thread(target=self._talk, args=(store, rank, words, self._stop), daemon=True).start()
        threading.Thread(target=self._watch, args=(rank, words, self._stop), daemon=True).start()

    def release(self) -> None:
        """Watch no more."""
        self._stop.set()

    def moved(self, *ignored: Any, **also_ignored: Any) -> None:
        self.done += 1
        self._moved = time.monotonic()

    on_step_begin = on_substep_end = on_step_end = on_prediction_step = on_evaluate = on_save = moved

    def _talk(self, store: Any, rank: int, words: list[Word], stop: threading.Event) -> None:
        """Say what this rank has done, and hear what all have, itself too, as long as the store answers."""
        try:
            while not stop.wait(self.seconds / BEATS):
                store.set(f"alignkit/{rank}", f"{socket.gethostname()} {self.done} {time.monotonic()}")
                for other, word in enumerate(words):
                    key = f"alignkit/{other}"
                    if store.check([key]):
                        word.hear(store.get(key).decode(), time.monotonic())
        except RuntimeError as error:  # of torch's network and store errors
            if not stop.is_set():
                logger.warning("%s: %s", NO_STORE, str(error).partition("\n")[0])

    def _watch(self, rank: int, words: list[Word], stop: threading.Event) -> None:
        while not stop.wait(self.seconds / BEATS):
            now = time.monotonic()
            if now - max(self._moved, *(word.moved for word in words)) > self.seconds:
                logger.critical("%s; --resume auto goes on from the newest checkpoint", self._missing(words, rank, now))
                os._exit(EXIT_CODE)  # the main thread waits in a collective, and no exception reaches it there

    def _missing(self, words: list[Word], rank: int, now: float) -> str:
        """The store, the rank that no longer speaks, or else the one that is furthest behind."""
        what = f"nothing has moved for {self.seconds:.0f} s, and"
        silent = [one for one, word in enumerate(words) if now - word.spoke > self.seconds / 2]
        if rank in silent:  # not even its own word comes back
            return f"{what} {NO_STORE}"
        most = max(word.done for word in words)
        behind = [one for one, word in enumerate(words) if word.done < most]
        if not (silent or behind):
            return f"{what} all ranks are in the same place"
        found = (silent or sorted(behind, key=lambda one: words[one].done))[0]
        return f"{what} rank {found} on {words[found].host} {'does not answer' if silent else 'is behind the others'}"

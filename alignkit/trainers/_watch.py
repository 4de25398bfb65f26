"""Who is missing: on several processes, each watches that all go on, and stops with the name of the one that does not.

A rank that hangs leaves the others in a collective that waits for half an hour and names nobody. Every process counts
its steps and micro-batches in torch's store, from a thread; one that has not moved for long looks who is furthest
behind. A rank that died is named by its launcher, which stops the others at once.
"""

import logging
import os
import socket
import threading
import time
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

EXIT_CODE = 75  # the newest checkpoint is whole
BEATS = 20  # looks at the others, in the time after which a rank counts as missing


class Watch(TrainerCallback):
    """Counts what this rank does while training runs, and ends the process when nothing moves for `seconds`."""

    def __init__(self) -> None:
        self.seconds = 1800.0
        self.done = 0  # steps, micro-batches and evaluation batches
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
            self._stop.clear()
            threading.Thread(target=self._watch, args=(store, dist.get_rank(), args.world_size), daemon=True).start()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.release()

    def release(self) -> None:
        """Watch no more."""
        self._stop.set()

    def moved(self, *ignored: Any, **also_ignored: Any) -> None:
        self.done += 1
        self._moved = time.monotonic()

    on_step_begin = on_substep_end = on_step_end = on_prediction_step = on_evaluate = on_save = moved

    def _watch(self, store: Any, rank: int, ranks: int) -> None:
        seen = {other: ("", time.monotonic()) for other in range(ranks)}  # last word of each, and when it changed
        while not self._stop.wait(self.seconds / BEATS):
            now = time.monotonic()
            store.set(f"alignkit/{rank}", f"{socket.gethostname()} {self.done} {now}")
            for other in range(ranks):
                key = f"alignkit/{other}"
                word = store.get(key).decode() if store.check([key]) else ""
                if word != seen[other][0]:
                    seen[other] = (word, now)
            if now - self._moved > self.seconds:
                logger.critical("%s; --resume auto goes on from the newest checkpoint", self._missing(seen, now))
                os._exit(EXIT_CODE)  # the main thread waits in a collective, and no exception reaches it there

    def _missing(self, seen: dict[int, tuple[str, float]], now: float) -> str:
        """The rank that no longer speaks, or else the one that is furthest behind."""
        silent = [rank for rank, (_, when) in seen.items() if now - when > self.seconds / 2]
        counts = {rank: int(word.split()[1]) if word else 0 for rank, (word, _) in seen.items()}
        behind = [rank for rank, count in counts.items() if count < max(counts.values())]
        what = f"nothing has moved for {self.seconds:.0f} s, and"
        if not (silent or behind):
            return f"{what} all ranks are in the same place"
        rank = (silent or sorted(behind, key=counts.__getitem__))[0]
        host = seen[rank][0].split()[0] if seen[rank][0] else "an unknown host"
        return f"{what} rank {rank} on {host} {'does not answer' if silent else 'is behind the others'}"

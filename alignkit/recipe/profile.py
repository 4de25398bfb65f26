"""Where the time goes: `profile: true` times the way to the first step and some later ones, and keeps torch's trace.

Phases exclude each other: time belongs to the innermost that runs. On an accelerator every phase waits for its kernels,
which takes away what overlap there is, so that a phase is charged for its own work.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.profiler import profile, record_function, schedule
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignkit.trainers._seams import phases

NAME = "profile.json"
TRACE = "trace.json.gz"
FEWEST = 2  # steps that are profiled, after a first one in which much happens that never happens again
OTHER = "other"


class Start:
    """Seconds from the start of the process to its first step, by what was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = psutil.Process().create_time()
        self.done("imports")

    def done(self, what: str) -> None:
        """What the time since the last call went to."""
        now = time.time()
        self.seconds[what] = now - self._since
        self._since = now


class Clock:
    """Seconds of each phase since it was started or last set to zero; `other` is what no phase runs in."""

    def __init__(self) -> None:
        self.runs = False
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._phases: list[str] = []  # that are running, the innermost last
        self._since = 0.0

    def start(self) -> None:
        self._charge()
        self.runs = True
        self.seconds.clear()

    def stop(self) -> dict[str, float]:
        self._charge()
        self.runs = False
        return dict(self.seconds)

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose time is the phase's. An evaluation is one phase, whatever runs in it."""

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if not self.runs or "evaluation" in self._phases:
                return function(*args, **kwargs)
            with record_function(phase), self._in(phase):
                return function(*args, **kwargs)

        return run

    @contextmanager
    def _in(self, phase: str) -> Iterator[None]:
        self._charge()
        self._phases.append(phase)
        try:
            yield
        finally:
            self._charge()
            self._phases.pop()

    def _charge(self) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        now = time.perf_counter()
        self.seconds[self._phases[-1] if self._phases else OTHER] += now - self._since
        self._since = now


class Profile(TrainerCallback):
    """Profiles `active` steps after the first, and writes OUTPUT/profile.json and OUTPUT/trace.json.gz.

    The first process does. The profiler's own cost is in the times; it is small where the work of a kernel is large.
    """

    def __init__(self, trainer: Any, active: int, start: Start) -> None:
        self.trainer = trainer
        self.start = start
        self.active = active
        self.clock = Clock()
        self.steps: list[int] = []  # that are in the profile
        self.tracer: Any = None  # while there is something to trace

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero:
            return
        self.folder = Path(str(args.output_dir))
        for owner, name, phase in phases(self.trainer, optimizer):
            setattr(owner, name, self.clock.timed(phase, getattr(owner, name)))
        plan = schedule(wait=0, warmup=1, active=self.active, repeat=1)
        self.tracer = profile(schedule=plan, on_trace_ready=self._export)
        self.tracer.start()
        self.clock.start()

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        if "first batch" not in self.start.seconds:
            self.start.done("first batch")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.tracer is None:
            return
        self.steps.append(state.global_step)
        if len(self.steps) > self.active:
            self._finish()
            return
        self.tracer.step()
        if len(self.steps) == 1:
            self.clock.start()  # after the tracer, which takes a while to start and to stop

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.tracer is not None:
            self._finish()

    def _finish(self) -> None:
        seconds = self.clock.stop()
        self.tracer.stop()
        self.tracer = None
        largest_first = dict(sorted(seconds.items(), key=lambda item: -item[1]))
        said = {"start": self.start.seconds, "steps": self.steps[1:], "seconds": largest_first}
        (self.folder / NAME).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")

    def _export(self, tracer: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        tracer.export_chrome_trace(str(self.folder / TRACE))


def attach_profile(trainer: Any, start: Start) -> None:
    """Profile a trainer's next run; of methods that generate, whole generations with all their updates.

    Args:
        trainer: which has not been trained yet.
        start: what has been done since the process started.

    Raises:
        ValueError: the run is too short.
    """
    if 0 < trainer.args.max_steps < FEWEST:
        raise ValueError("profile leaves out the first step, and this run has no other; write train.max_steps: 3")
    updates = max(1, round(getattr(trainer, "updates_per_generation", 1)))
    trainer.add_callback(Profile(trainer, -(-FEWEST // updates) * updates, start))


def shown(folder: Path) -> str:
    """The table of a profiled run's folder: phases, seconds a step, shares."""
    said = json.loads((folder / NAME).read_text(encoding="utf-8"))
    steps, whole = said["steps"], sum(said["seconds"].values())
    start = ", ".join(f"{what} {seconds:.3g}" for what, seconds in said["start"].items())
    lines = [f"first step after {sum(said['start'].values()):.3g} s: {start}"]
    lines += [f"profile of steps {steps[0]} to {steps[-1]}, {whole / len(steps):.3g} s each"]
    for phase, seconds in said["seconds"].items():
        lines.append(f"  {phase:11} {seconds / len(steps):9.3g} s  {seconds / whole:6.1%}")
    return "\n".join([*lines, f"trace: {folder / TRACE} (open it in ui.perfetto.dev)"])

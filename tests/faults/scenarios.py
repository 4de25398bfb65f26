"""Faults that are done to both sides alike, and what is measured after each."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import sides
from tests.faults.runs import At, killer


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something done to a run, and to what it left; then the same command is given again."""

    name: str
    strike: sides.Strike
    damage: Callable[[Path], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a run under a fault."""

    ended: int  # exit code, or minus the signal
    again: int  # steps that were trained a second time
    resumed: int  # exit code of the second run
    weights: bool  # whether its weights are those of a run without the fault, to the last bit
    logged: bool  # whether all that was logged is
    said: str = ""  # last line of a second run that failed

    def __str__(self) -> str:
        ended = f"exit {self.ended}" if self.ended >= 0 else signal.Signals(-self.ended).name
        if self.resumed:
            return f"{ended}; cannot be resumed: {self.said}"
        weights = "exact" if self.weights else "**others**"
        logs = "" if self.logged else ", logged values **others**"
        return f"{ended}; steps trained again: {self.again}; weights {weights}{logs}"


def suffer(side: str, fault: Fault, whole: Path, folder: Path) -> Outcome:
    """Do something to a run, give the same command again, and compare with the run in `whole`."""
    ended = sides.run(side, folder, fault.strike)
    if fault.damage is not None:
        fault.damage(folder)
    resumed = sides.run(side, folder)
    if resumed:
        said = (folder / sides.SAID).read_text().strip().splitlines()
        return Outcome(ended=ended, again=0, resumed=resumed, weights=False, logged=False, said=said[-1])
    weights, logged = sides.outcome(folder)
    expected_weights, expected_logged = sides.outcome(whole)
    done = (folder / sides.DONE).read_text().split()
    return Outcome(
        ended=ended,
        again=len(done) - len({*done}),
        resumed=resumed,
        weights=weights == expected_weights,
        logged=logged == expected_logged,
    )


def killed_after(step: int, trainer: Any) -> None:
    trainer.add_callback(At("on_step_end", step, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def killed_in_save(write: int, trainer: Any) -> None:
    """At so many writes of the save of step 6."""
    save = trainer._save_checkpoint

    def counted(*args: Any) -> None:
        if trainer.state.global_step == 6:
            sys.addaudithook(killer(write, trainer.args.output_dir))
        save(*args)

    trainer._save_checkpoint = counted


def terminated(trainer: Any) -> None:
    trainer.add_callback(At("on_substep_end", 4, lambda: signal.raise_signal(signal.SIGTERM)))


def no_number(trainer: Any) -> None:
    """The model's last layer gives NaN in step 5."""

    def spoilt(module: Any, inputs: Any, output: Any) -> Any:
        return output * float("nan") if trainer.state.global_step == 4 and trainer.model.training else output

    trainer.model.model.norm.register_forward_hook(spoilt)


def full_disk(trainer: Any) -> None:
    """From the save of step 6 on, files cannot grow beyond some kilobytes."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    trainer.add_callback(At("on_step_end", 6, limit))


def flipped(name: str, folder: Path) -> None:
    """One bit of a file of the newest checkpoint, in its middle."""
    file = folder / "checkpoint-6" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(name: str, folder: Path) -> None:
    file = folder / "checkpoint-6" / name
    os.truncate(file, file.stat().st_size // 2)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(name="SIGKILL after step 5", strike=partial(killed_after, 5)),
        Fault(name="SIGKILL within the save of step 6", strike=partial(killed_in_save, 6)),
        Fault(name="disk full at the save of step 6", strike=full_disk),
        Fault(
            name="one bit of the weights of checkpoint-6 flipped",
            strike=partial(killed_after, 7),
            damage=partial(flipped, "model.safetensors"),
        ),
        Fault(
            name="the optimiser's file of checkpoint-6 cut in half",
            strike=partial(killed_after, 7),
            damage=partial(cut, "optimizer.pt"),
        ),
        Fault(name="SIGTERM in step 5", strike=terminated),
        Fault(name="NaN from the model in step 5", strike=no_number),
    )
}

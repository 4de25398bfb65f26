"""What a run prints: a progress bar and one line per logged step, on the first process only."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

COLUMNS = {  # logged name: (heading, format)
    "loss": ("loss", "{:.4f}"),
    "eval_loss": ("eval loss", "{:.4f}"),
    "rewards/accuracies": ("accuracy", "{:.3f}"),
    "eval_rewards/accuracies": ("accuracy", "{:.3f}"),
    "rewards/margins": ("margin", "{:.3f}"),
    "eval_rewards/margins": ("margin", "{:.3f}"),
    "mean_token_accuracy": ("top-1", "{:.3f}"),
    "eval_mean_token_accuracy": ("top-1", "{:.3f}"),
    "evaluation/score": ("judged", "{:.2f}"),
    "evaluation/gain": ("gain", "{:+.2f}"),
    "grad_norm": ("|grad|", "{:.3g}"),
    "learning_rate": ("lr", "{:.2e}"),
    "num_tokens": ("tokens", "{:.0f}"),
}


def use_table(trainer: Trainer, console: Console | None = None) -> None:
    """Replace transformers' printing of dictionaries by a compact table, on the console where one is given."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(Table(console))


class Table(TrainerCallback):
    """One line per log, under a bar that says how long is left."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal or self.console.record,  # a recording holds every state of a bar
        )
        self.started = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started = time.monotonic()
        if state.is_world_process_zero:
            self.task = self.bar.add_task("train", total=state.max_steps, completed=state.global_step)
            self.bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and logs and "train_runtime" not in logs:
            self.console.print(line(state.global_step, state.max_steps, logs), markup=False)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.bar.stop()
            self.console.print(f"{state.global_step} steps in {time.monotonic() - self.started:.0f} s", markup=False)


def line(step: int, steps: int, logs: Mapping[str, float]) -> str:
    """A log as a line of text: the quantities of COLUMNS that it has, in their order."""
    cells = [f"{heading} {form.format(logs[name])}" for name, (heading, form) in COLUMNS.items() if name in logs]
    return f"step {step:>{len(str(steps))}}/{steps}  " + "  ".join(cells)

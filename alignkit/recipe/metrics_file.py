"""What a run logs, as one JSON object a line: OUTPUT/metrics.jsonl."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

NAME = "metrics.jsonl"


class MetricsFile(TrainerCallback):
    """Writes each logged entry as it comes, so that a run can be followed and survives a crash.

    A run that is resumed keeps the lines up to its checkpoint and goes on from there: each step is there once.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            file = Path(str(args.output_dir)) / NAME
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(map(json_line, state.log_history)), encoding="utf-8")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            # opened and closed each time, so that nothing waits in a buffer
            with (Path(str(args.output_dir)) / NAME).open("a", encoding="utf-8") as file:
                file.write(json_line(state.log_history[-1]))


def json_line(entry: Mapping[str, Any]) -> str:
    """The entry as a line. JSON knows neither NaN nor infinity, which become null."""
    return json.dumps({name: finite(value) for name, value in entry.items()}, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

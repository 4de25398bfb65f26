"""Tasks of EleutherAI's lm-evaluation-harness, run by its own package: `pip install alignkit[lm-eval]`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alignkit.evaluation.errors import EvaluationError
from alignkit.lookup import did_you_mean


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One number of a task or of a group of tasks."""

    task: str
    metric: str  # as the harness names it: acc,none is accuracy without a filter
    value: float
    error: float | None  # standard error
    examples: int | None  # None: a group, whose tasks have theirs

    def row(self) -> list[str]:
        """Cells for a table, under HEADS."""
        error = "" if self.error is None else f"{self.error:.4f}"
        return [self.task, self.metric, f"{self.value:.4f}", error, "" if self.examples is None else str(self.examples)]


HEADS = ("task", "metric", "value", "standard error", "examples")


@dataclass(frozen=True, kw_only=True)
class Harness:
    """The tasks that were asked for, found before a model is loaded.

    Raises on construction:
        EvaluationError: the package is not there, or a task or a folder of tasks is not.
    """

    tasks: Sequence[str]  # of tasks, groups or tags
    folder: Path | None = None  # tasks of one's own, as the harness writes them in YAML
    few_shot: int | None = None  # examples before each question; None: as the task says
    limit: int | None = None  # examples of each task
    batch_size: int = 1
    chat: bool = False  # put questions into the model's chat template

    def __post_init__(self) -> None:
        if self.folder is not None and not self.folder.is_dir():
            raise EvaluationError(f"there is no folder of tasks {self.folder}")
        for task in self.tasks:
            if not self.manager.match_tasks([task]):
                raise EvaluationError(f"no task named {task!r}{did_you_mean(task, self.manager.all_tasks)}")

    @cached_property
    def manager(self) -> Any:
        """What knows the tasks; it reads thousands of files."""
        try:
            from lm_eval.tasks import TaskManager
        except ImportError as error:
            raise EvaluationError(f"lm-eval cannot be imported ({error}); pip install alignkit[lm-eval]") from None
        return TaskManager(include_path=None if self.folder is None else str(self.folder))

    def run(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        """What the harness reports of a loaded model: plain data."""
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        found = simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=self.batch_size),
            tasks=[*self.tasks],
            num_fewshot=self.few_shot,
            limit=self.limit,
            apply_chat_template=self.chat,
            task_manager=self.manager,
            log_samples=False,
        )
        return json.loads(json.dumps(found, default=str))


def scores(report: Mapping[str, Any]) -> list[TaskScore]:
    """The numbers of a report, task by task."""
    found = []
    for task, values in report["results"].items():
        for metric, value in values.items():
            name, _, kind = metric.partition(",")
            if kind and not name.endswith("_stderr") and isinstance(value, int | float):
                error = values.get(f"{name}_stderr,{kind}")
                examples = report.get("n-samples", {}).get(task, {}).get("effective")
                spread = error if isinstance(error, int | float) else None
                found.append(TaskScore(task=task, metric=metric, value=value, error=spread, examples=examples))
    return found

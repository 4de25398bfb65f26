"""What is known of a run: before it starts, and once it has gone some way."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from alignkit.data.account import DataReport
from alignkit.data.load import Data
from alignkit.data.marked import Marked
from alignkit.data.sources import located
from alignkit.data.spec import Source
from alignkit.models.sources import HUB_ID
from alignkit.recipe.dump import to_yaml
from alignkit.recipe.provenance import provenance
from alignkit.recipe.schema import Recipe
from alignkit.recipe.summary.results import History, duration, last_logged
from alignkit.redaction import redact


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A run before it starts."""

    recipe: Recipe
    data: Data
    report: DataReport
    provenance: Mapping[str, Any]  # without secrets; taken at the start, since files may change while a run lasts

    @classmethod
    def of(cls, recipe: Recipe, data: Data, report: DataReport) -> "Facts":
        found = redact(provenance(recipe, data.fingerprints))
        return cls(recipe=recipe, data=data, report=report, provenance=found)

    @property
    def recipe_yaml(self) -> str:
        """The resolved recipe without secrets."""
        return to_yaml(redact(self.recipe.resolved()))

    @property
    def base_model(self) -> str | None:
        """The model's id on the Hub; None for one that is only here."""
        path = self.recipe.model.path
        return path if HUB_ID.fullmatch(path) and not Path(path).expanduser().exists() else None

    @cached_property
    def hub_datasets(self) -> list[str]:
        """Ids of the datasets from the Hub."""
        sources: list[Source] = [*self.recipe.data.train, *self.recipe.data.eval]
        return list(dict.fromkeys(one.source for one in sources if located(one, self.recipe.base) is None))


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come, and with what."""

    name: str  # of the model: its repository's, or its folder's
    location: str  # what `from_pretrained` takes
    adapter: bool  # what is saved is an adapter
    images: bool  # the model sees images
    steps: int
    epochs: float | None
    hardware: str
    history: History

    @classmethod
    def of(cls, trainer: Any) -> "Progress":
        args, state = trainer.args, trainer.state
        repository = trainer.hub_model_id or (args.hub_model_id if args.push_to_hub else None)
        location = repository or str(args.output_dir)
        device = trainer.accelerator.device
        kind = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
        return cls(
            name=Path(location).absolute().name,
            location=location,
            adapter=isinstance(trainer.model, PeftModel),
            images=hasattr(trainer.model.config, "vision_config"),
            steps=state.global_step,
            epochs=state.epoch,
            hardware=f"{trainer.accelerator.num_processes} x {kind}",
            history=state.log_history,
        )

    def headline(self) -> list[tuple[str, str]]:
        """(name, value) of the run's size."""
        runtime, tokens = last_logged(self.history, "train_runtime"), last_logged(self.history, "num_tokens")
        return [
            ("optimiser steps", f"{self.steps:,}"),
            ("epochs", "not counted" if self.epochs is None else f"{self.epochs:.3g}"),
            ("tokens", "not counted" if tokens is None else f"{tokens:,.0f}"),
            ("time", "still running" if runtime is None else duration(runtime)),
            ("hardware", self.hardware),
        ]


def without_texts(report: DataReport) -> DataReport:
    """The data report without the text of its example, for a folder that is published."""
    return replace(report, example=Marked(source=report.example.source, place="left out", sequences=()))

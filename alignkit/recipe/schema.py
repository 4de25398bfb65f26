"""What a recipe is, and which TRL options its `train` section may hold.

This is the only file of `alignkit.recipe` that imports TRL, and only when an option has to be looked up: the import
takes seconds.
"""

import dataclasses
import enum
import typing
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from alignkit.data.spec import DataSpec
from alignkit.generation.spec import SampleSpec
from alignkit.lookup import dotted_path
from alignkit.models.spec import ModelSpec
from alignkit.objectives import (
    GroupObjective,
    Objective,
    PairObjective,
    RevisionObjective,
    RewardObjective,
    TokenObjective,
    UnpairedObjective,
)
from alignkit.recipe.describe import alternatives
from alignkit.recipe.ensemble.spec import EnsembleSpec
from alignkit.recipe.evaluation.spec import EvaluationSpec
from alignkit.recipe.plain import plain
from alignkit.recipe.reward_section import plain_reward
from alignkit.recipe.rl_spec import RLSpec
from alignkit.recipe.summary.spec import SummarySpec
from alignkit.rewards.spec import RewardSpec

Tracker = Literal["wandb", "trackio", "tensorboard"]

# Objective family: TRL's config class, whose fields are the options of `train`.
FAMILIES: dict[type, str] = {
    PairObjective: "DPOConfig",
    TokenObjective: "SFTConfig",
    UnpairedObjective: "KTOConfig",
    RevisionObjective: "DPOConfig",
    RewardObjective: "RewardConfig",
    GroupObjective: "GRPOConfig",
}


# Options whose constructors look for hardware or start something; the run itself meets their errors.
_OF_THE_MACHINE = (
    "deepspeed",
    "fsdp",
    "fsdp_config",
    "tf32",
    "torch_compile",
    "torch_compile_backend",
    "torch_compile_mode",
)


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """What `train` may say beside TRL's options."""

    global_batch_size: int | None = None  # examples per optimiser step over all processes; accumulation follows from it
    shared_prefix: bool = True  # compute what answers share once, the head on answers only; false gives TRL's forward
    reference_cache: bool = False  # keep what the reference says on disk by content, and ask it for no text twice
    on_nonfinite: Literal["stop", "skip"] = "stop"  # at a NaN or infinite loss or gradient, the run or the step
    rank_timeout: float = 1800.0  # seconds after which a process that does not go on ends the run, by its name

    def __post_init__(self) -> None:
        if self.global_batch_size is not None and self.global_batch_size < 1:
            raise ValueError(f"global_batch_size = {self.global_batch_size} must be at least 1")
        if not self.rank_timeout > 0:
            raise ValueError(f"rank_timeout = {self.rank_timeout} must be positive seconds")

    def accumulation_steps(self, per_device: int, processes: int) -> int | None:
        """Micro-batches per optimiser step, None where TRL's own option decides.

        Raises:
            ValueError: the batch cannot be split into equal micro-batches on all processes.
        """
        if self.global_batch_size is None:
            return None
        steps, rest = divmod(self.global_batch_size, per_device * processes)
        if rest or not steps:
            raise ValueError(
                f"global_batch_size = {self.global_batch_size} is no multiple of {per_device} examples on each of "
                f"{processes} processes; change train.per_device_train_batch_size or the number of processes"
            )
        return steps


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe that has been read and checked. Two are equal if they ask for the same run."""

    objective: Objective
    model: ModelSpec
    data: DataSpec
    train: Mapping[str, Any]  # the TRL options that were written, under TRL's names
    settings: TrainSpec = field(default_factory=TrainSpec)
    report: tuple[Tracker, ...] = ()
    summary: SummarySpec = field(default_factory=SummarySpec)
    teachers: tuple[ModelSpec, ...] = ()  # aligned models that score answers, for poft
    reward: RewardSpec | None = None  # what answers are worth, for methods and commands that generate them
    ensemble: EnsembleSpec | None = None  # several reward models in place of one
    evaluation: EvaluationSpec | None = None  # who judges the checkpoints
    sample: SampleSpec | None = None  # answers that alignkit sample draws; unset: its defaults
    profile: bool = field(default=False, compare=False)  # write where the time of a few steps goes
    rl: RLSpec | None = None  # answers of other runs, for methods that learn from sampled answers
    path: Path | None = field(default=None, compare=False)  # the file it was read from

    @property
    def base(self) -> Path:
        """Where relative paths and the user's own functions are looked for: the recipe's folder."""
        return self.path.parent if self.path else Path.cwd()

    @property
    def config_class(self) -> type:
        """TRL's config class that takes `train`."""
        return config_class(type(self.objective))

    def resolved(self) -> dict[str, Any]:
        """The recipe as plain data, every default filled in.

        Of TRL's options it holds those that were written: the versions saved beside a checkpoint fix the others. What
        changes nothing in the run, `profile`, is not in it.
        """
        settings = {key: value for key, value in plain(self.settings).items() if value is not None}
        return {
            "objective": {"name": objective_name(self.objective), **plain(self.objective)},
            "model": plain(self.model),
            "data": plain(self.data),
            "train": {**plain(self.train), **settings},
            "report": list(self.report) or "none",
            "summary": plain(self.summary),
            **({"teachers": [plain(teacher) for teacher in self.teachers]} if self.teachers else {}),
            **({"reward": plain_reward(self.reward)} if self.reward else {}),
            **({"ensemble": plain(self.ensemble)} if self.ensemble else {}),
            **({"evaluation": plain(self.evaluation)} if self.evaluation else {}),
            **({"sample": plain(self.sample)} if self.sample else {}),
            **({"rl": plain(self.rl)} if self.rl else {}),
        }


def objective_name(objective: Objective) -> str:
    """What `objective.name` must say to get this class: its file in alignkit, or its dotted path."""
    cls = type(objective)
    package, _, module = cls.__module__.rpartition(".")
    return module if package == "alignkit.objectives" else dotted_path(cls)


def family_of(objective: type[Objective]) -> type[Objective] | None:
    """The family of an objective class, None where no trainer takes it."""
    return next((family for family in FAMILIES if issubclass(objective, family)), None)


def config_class(objective: type[Objective]) -> type:
    """TRL's config class for an objective class."""
    import trl

    family = family_of(objective)
    if family is None:
        raise ValueError(f"no trainer takes {objective.__name__}; choose a {_families()}")
    return getattr(trl, FAMILIES[family])


def options(config: type) -> dict[str, Any]:
    """{name: type} of a TRL config class, with text that stands for an enumeration or a choice made a Literal."""
    hints = typing.get_type_hints(config)
    return {f.name: _refined(hints[f.name], f.metadata.get("choices")) for f in dataclasses.fields(config) if f.init}


def all_options() -> dict[str, dict[str, Any]]:
    """{name of the config class: its options} for every family."""
    import trl

    return {name: options(getattr(trl, name)) for name in dict.fromkeys(FAMILIES.values())}


def option_help(configs: Iterable[str] = tuple(FAMILIES.values())) -> dict[str, str]:
    """{option: TRL's help, on one line} of config classes, by default of every family's."""
    import trl

    fields = [f for name in configs for f in dataclasses.fields(getattr(trl, name))]
    return {f.name: " ".join(str(f.metadata.get("help", "")).replace("%%", "%").split()) for f in fields}


def refusal(config: type, train: Mapping[str, Any]) -> str | None:
    """What TRL itself says against a combination of options; None if it accepts them.

    Devices are left alone: the config is made without one, and in fp32, since precision belongs to the model.
    """
    import torch

    # These are properties that start the process group; plain attributes in their place keep this a mere check
    probe = type(config.__name__, (config,), {"device": torch.device("cpu"), "world_size": 1})
    portable = {name: value for name, value in train.items() if name not in _OF_THE_MACHINE}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe(**{"output_dir": "runs", **portable, "bf16": False, "report_to": "none"})
    except Exception as error:  # transformers and accelerate raise whatever their own constructors meet
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _families() -> str:
    return " or ".join(family.__name__ for family in FAMILIES)


def _refined(kind: Any, choices: Any) -> Any:
    """`SchedulerType | str` is one of the scheduler's names, and `str` with choices is one of the choices."""
    members = alternatives(kind)
    if choices:
        members = [Literal[tuple(choices)] if member is str else member for member in members]
    enums = [member for member in members if isinstance(member, type) and issubclass(member, enum.Enum)]
    if enums:
        members = [member for member in members if member is not str and member not in enums]
        members.append(Literal[tuple(str(item.value) for item in enums[0])])
    return Union[tuple(_inner(member) for member in members)]  # noqa: UP007


def _inner(kind: Any) -> Any:
    if get_origin(kind) is list and get_args(kind):
        return list[_refined(get_args(kind)[0], None)]  # type: ignore[misc]  # a type made at run time
    return kind

"""The `train` section: TRL's options by TRL's names, checked against TRL's own config class, and our few."""

from collections.abc import Mapping
from typing import Any

from alignkit.objectives import Objective
from alignkit.recipe.moved_keys import BELONGS, OBJECTIVE_OWNS, REFUSED, RENAMED
from alignkit.recipe.schema import FAMILIES, TrainSpec, all_options, family_of
from alignkit.recipe.typed import INVALID, Checker, fields_of
from alignkit.recipe.unknown import Unknown

_AT_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "precompute_ref_batch_size": 1,
    "max_length": 1,
    "max_completion_length": 1,
    "num_generations": 1,
    "num_iterations": 1,
    "steps_per_generation": 1,
    "generation_batch_size": 1,
    "save_total_limit": 1,
    "dataset_num_proc": 1,
    "eval_accumulation_steps": 1,
    "dataloader_num_workers": 0,
    "learning_rate": 0,
    "num_train_epochs": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "warmup_steps": 0,
    "adam_beta1": 0,
    "adam_beta2": 0,
    "adam_epsilon": 0,
    "logging_steps": 0,
    "save_steps": 0,
    "eval_steps": 0,
    "eval_delay": 0,
    "seed": 0,
    "data_seed": 0,
}
_BELOW = {"adam_beta1": 1, "adam_beta2": 1, "seed": 2**32, "data_seed": 2**32}


def check_train(
    written: Mapping[str, Any], objective: type[Objective] | None, checker: Checker, unknown: Unknown
) -> tuple[dict[str, Any], Any]:
    """TRL's options that were written and are valid, and our TrainSpec (INVALID where it has a problem).

    Without an objective (its name was wrong) an option of any family passes.
    """
    every = all_options()
    config = _config(objective)
    known = every[config] if config else {name: kind for kinds in every.values() for name, kind in kinds.items()}
    ours = fields_of(TrainSpec)
    train, settings = {}, {}
    for key, value in written.items():
        path = ("train", key)
        if key in ours:
            settings[key] = value
        elif _owned(key):
            unknown(key, path, ())
        elif key in known:
            train[key] = _option(known[key], key, value, checker)
        elif key in RENAMED:  # another family has an option of that name
            unknown(key, path, train_keys(objective))
        elif others := [name for name, kinds in every.items() if key in kinds]:
            what = f"train.{key} is an option of TRL's {others[0]}, and this objective trains with {config}"
            checker.report.add(path, what, "remove it")
        else:
            unknown(key, path, train_keys(objective))
    spec = checker.construct(TrainSpec, settings, ("train",))
    return {key: value for key, value in train.items() if value is not INVALID}, spec


def train_keys(objective: type[Objective] | None) -> list[str]:
    """Keys that `train` takes with an objective; with any of them where it is None."""
    config = _config(objective)
    kinds = [kinds for name, kinds in all_options().items() if config in (None, name)]
    names = dict.fromkeys(name for group in kinds for name in group if not _owned(name))
    return [*fields_of(TrainSpec), *names]


def _config(objective: type[Objective] | None) -> str | None:
    family = family_of(objective) if objective else None
    return FAMILIES[family] if family else None


def _owned(key: str) -> bool:
    """Whether TRL has the option and another section decides it, or nobody should."""
    return key in OBJECTIVE_OWNS or key in BELONGS or key in REFUSED


def _option(kind: Any, key: str, value: Any, checker: Checker) -> Any:
    path = ("train", key)
    checked = checker.check(kind, value, path)
    if checked is INVALID:
        return INVALID
    if isinstance(value, int) and not isinstance(value, bool) and checked == value:
        checked = value  # logging_steps: 10 stays 10, though TRL declares a float
    if isinstance(checked, int | float) and not isinstance(checked, bool):
        low, high = _AT_LEAST.get(key), _BELOW.get(key)
        if low is not None and checked < low:
            checker.report.add(path, f"train.{key} = {checked} must be at least {low}", part="value")
            return INVALID
        if high is not None and checked >= high:
            checker.report.add(path, f"train.{key} = {checked} must be below {high}", part="value")
            return INVALID
    return checked

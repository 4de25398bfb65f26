"""What group training asks of its options, prompts and rewards before it learns from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from trl import GRPOConfig

# TRL's options that an objective decides here, and the hyperparameter of `grpo` that says the same; "" if there is none
OWNED: Mapping[str, str] = {
    "beta": "beta",
    "loss_type": "reduction or surrogate",
    "epsilon": "epsilon",
    "epsilon_high": "epsilon_high",
    "delta": "delta",
    "importance_sampling_level": "ratio",
    "scale_rewards": "scaling",
    "use_bias_correction_kl": "kl",
    "top_entropy_quantile": "top_entropy_quantile",
    "entropy_coef": "entropy_coef",
    "use_adaptive_entropy": "",
    "multi_objective_aggregation": "",
    "off_policy_mask_threshold": "",
}


def check_options(args: GRPOConfig) -> None:
    """Refuse options that would change nothing, and batches that cannot hold whole groups.

    Raises:
        ValueError: what is wrong, and what to write instead.
    """
    defaults = {item.name: item.default for item in fields(GRPOConfig)}
    for name, instead in OWNED.items():
        value = getattr(args, name)
        if value != defaults[name]:
            where = f"write objective.{instead}" if instead else "it is not here"
            raise ValueError(f"{name} = {value!r} belongs to the objective; {where}")
    sizes = [("per_device_train_batch_size", args.num_generations)]
    if args.eval_strategy != "no":
        sizes.append(("per_device_eval_batch_size", args.num_generations_eval or args.num_generations))
    for name, answers in sizes:
        size = getattr(args, name)
        if size % answers:
            raise ValueError(
                f"{name} = {size} cannot hold whole groups of {answers} answers; use a multiple of {answers}"
            )


def check_prompts(lengths: Iterable[int], window: int | None, answer: int | None) -> None:
    """Refuse prompts after which an answer of `answer` tokens would leave the model's window.

    Raises:
        ValueError: no prompts, or one that is too long.
    """
    number = -1
    for number, length in enumerate(lengths):
        if window is not None and length + (answer or 1) > window:
            raise ValueError(
                f"prompt {number} has {length} tokens; with max_completion_length = {answer} it needs more than the "
                f"model's window of {window}: drop or shorten it, or lower train.max_completion_length"
            )
    if number < 0:
        raise ValueError("there are no prompts to train on: the dataset is empty")


def fold(rows: Mapping[str, Any], answers: int) -> dict[str, Any]:
    """Tensors (P * G, ...) as (P, G, ...), so that whatever moves rows moves whole prompts; scalars as they are."""
    return {
        name: value.unflatten(0, (-1, answers)) if isinstance(value, Tensor) and value.ndim else value
        for name, value in rows.items()
    }


def whole(inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of prompts with their answers, (P * G, L) each."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=2)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=2)
    return ids.flatten(0, 1), mask.flatten(0, 1)


def why_nothing_is_learned(rewards: Tensor, answers: int, truncated: float, masked: bool = False) -> str:
    """Reason why no answer of a generation is better than another one to the same prompt; empty if one is.

    `rewards` (N,) in groups of `answers`; `truncated` is the share of answers that were cut off, which count for
    nothing where they are `masked`.
    """
    if truncated == 1 and masked:
        return (
            "every answer was cut off at max_completion_length and mask_truncated_completions leaves such answers out; "
            "raise the one or remove the other"
        )
    groups = rewards.view(-1, answers)
    if (groups != groups[:, :1]).any():
        return ""
    if truncated == 1:
        return "every answer was cut off at max_completion_length; raise it, or teach the model to end its answers"
    if (rewards == rewards[0]).all():
        return f"every answer has the reward {rewards[0].item():g}; the task is too hard or too easy"
    return "no prompt has answers with two different rewards; raise num_generations or mix in easier or harder prompts"


def statistics_of(inputs: Mapping[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """{name: (sum, count)} of a generation's rewards, as `with_statistics` put them into its batches."""
    names = [key.split("/")[1] for key in inputs if key.startswith("statistics/") and key.endswith("/sum")]
    return {name: (inputs[f"statistics/{name}/sum"], inputs[f"statistics/{name}/count"]) for name in names}


def with_statistics(inputs: Mapping[str, Any], statistics: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """The batch with every sum and count beside its tensors: as scalars TRL hands them to every micro-batch."""
    sums = {f"statistics/{name}/sum": total for name, (total, _) in statistics.items()}
    counts = {f"statistics/{name}/count": count for name, (_, count) in statistics.items()}
    return {**inputs, **sums, **counts}


def column_of(rows: Sequence[Mapping[str, Any]], name: str, answers: int) -> Tensor:
    """A data column, one value per prompt, (P,)."""
    return torch.tensor([float(row[name]) for row in rows[::answers]])

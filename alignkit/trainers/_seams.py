"""Every private or undocumented name of TRL and transformers that alignkit touches, in one place.

TRL deletes its helpers without notice, so a release that moves one of these must fail here and in
`tests/trainers/test_seams.py`, not in the middle of a run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

TOUCHED = {
    "methods": (
        "_set_signature_columns_if_needed",
        "_prepare_dataset",
        "_get_train_sampler",
        "_get_eval_sampler",
        "get_tp_size",
        "get_cp_size",
        "get_sp_size",
        "_save_checkpoint",
        "_get_output_dir",
        "_get_grad_norm",
        "_finalize_training",
        "_load_best_model",
        "_prepare_inputs",
        "_evaluate",
        "_determine_best_metric",
    ),
    "attributes": (
        "_metrics",
        "_total_train_tokens",
        "_signature_columns",
        "_train_batch_size",
        "current_gradient_accumulation_steps",
        "aux_loss_enabled",
        "router_aux_loss_coef",
        "_tr_loss",
        "_globalstep_last_logged",
    ),
}

TOUCHED_OF_PAIRS = {  # of DPOTrainer alone
    "methods": ("_precompute_ref_logps",),
    "attributes": ("_precompute_model_hash",),
}

TOUCHED_OF_GROUPS = {  # of GRPOTrainer alone
    "methods": (
        "_get_per_token_logps_and_entropies",
        "_generate_single_turn",
        "_generate_and_score_completions",
        "_calculate_rewards",
        "_tokenize_prompts",
        "_save_checkpoint",
        "_load_optimizer_and_scheduler",
        "_generate",
    ),
    "attributes": ("_step", "_buffered_inputs", "use_vllm", "_is_vlm", "environment_factories", "tools"),
}


def keep_columns(trainer: Any, columns: Iterable[str]) -> None:
    """Let extra data columns through TRL's removal of unused ones."""
    trainer._signature_columns += [name for name in columns if name not in trainer._signature_columns]


def record(trainer: Any, mode: str, metrics: Mapping[str, float]) -> None:
    """Add metrics of one micro-batch; TRL averages them when it logs."""
    for name, value in metrics.items():
        trainer._metrics[mode][name].append(value)


def last_metric(trainer: Any, mode: str, name: str) -> float:
    """The metric as it was recorded last, since TRL logged."""
    return trainer._metrics[mode][name][-1]


def prompt_ids(trainer: Any, prompt: Any) -> list[int]:
    """Tokens of a prompt as a GRPOTrainer hands them to the model."""
    (ids,), *_ = trainer._tokenize_prompts([prompt])
    return ids


def prompt_tokenizer(trainer: Any) -> Callable[[list[Any]], tuple[list[list[int]], Any, Any]]:
    """`prompt_ids` of many prompts, first of three, by a function without the trainer: it goes to other processes."""
    held = ("processing_class", "chat_template", "chat_template_kwargs", "tools", "environment_factories", "_is_vlm")
    stand_in: Any = SimpleNamespace(**{name: getattr(trainer, name) for name in held})
    return partial(GRPOTrainer._tokenize_prompts, stand_in)


def rollout(trainer: Any) -> dict[str, Any]:
    """Where a GRPOTrainer is within a generation: micro-batches done so far, and those it still learns from."""
    return {"step": trainer._step, "batches": trainer._buffered_inputs}


def restore_rollout(trainer: Any, found: Mapping[str, Any]) -> None:
    """Put a GRPOTrainer where `rollout` found it."""
    trainer._step, trainer._buffered_inputs = found["step"], found["batches"]


@torch.no_grad()
def policy_logps(trainer: Any, rows: Mapping[str, Tensor]) -> Tensor:
    """Log-probs of a generation's answers, (N, T), by the policy of a GRPOTrainer, in batches as TRL takes them."""
    ids, mask = (torch.cat([rows[f"prompt_{of}"], rows[f"completion_{of}"]], dim=1) for of in ("ids", "mask"))
    width, batch = rows["completion_ids"].shape[1], trainer.args.per_device_train_batch_size
    logps, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width, batch)
    return logps


@contextmanager
def another_forward(trainer: Any) -> Iterator[None]:
    """Let a DPOTrainer take the log-probs of its reference for those of another model than its own forward's."""
    before = trainer._precompute_model_hash
    trainer._precompute_model_hash = f"{before}, each shared token once"
    try:
        yield
    finally:
        trainer._precompute_model_hash = before


@contextmanager
def another_sampler(trainer: Any) -> Iterator[None]:
    """Let a GRPOTrainer correct for what drew the answers, which it does where that is vLLM and gave log-probs."""
    before = trainer.use_vllm
    trainer.use_vllm = True
    try:
        yield
    finally:
        trainer.use_vllm = before


def train_batch_size(trainer: Any) -> int:
    """Examples of a micro-batch on this device; less than the recipe says once `auto_find_batch_size` has halved it."""
    return trainer._train_batch_size


def count_tokens(trainer: Any, mode: str, tokens: float) -> None:
    """Add to the tokens trained so far, which TRL logs as `num_tokens`."""
    if mode == "train":
        trainer._total_train_tokens += int(tokens)
    trainer._metrics[mode]["num_tokens"] = [trainer._total_train_tokens]


def averages(trainer: Any) -> dict[str, Any]:
    """What has been added up since the last log, and the tokens trained so far; plain values."""
    return {
        "loss": trainer._tr_loss.item(),
        "logged": trainer._globalstep_last_logged,
        "tokens": getattr(trainer, "_total_train_tokens", 0),
        "metrics": {name: list(values) for name, values in trainer._metrics["train"].items()},
    }


def set_averages(trainer: Any, saved: Mapping[str, Any]) -> None:
    """Take up what `averages` gave; when training has begun, since that starts them at zero."""
    trainer._tr_loss.fill_(saved["loss"])
    trainer._globalstep_last_logged = saved["logged"]
    trainer._total_train_tokens = saved["tokens"]
    trainer._metrics["train"].clear()
    for name, values in saved["metrics"].items():
        trainer._metrics["train"][name] = list(values)


def evaluate_late(trainer: Any) -> None:
    """The evaluation of a step from whose checkpoint training goes on, with what follows from it for the best one."""
    trainer._determine_best_metric(metrics=trainer._evaluate(None, None), trial=None)


def phases(trainer: Any, optimizer: Any) -> list[tuple[Any, str, str]]:
    """(owner, method, phase of a step that it is) of a trainer whose training begins."""
    methods = {
        "get_batch_samples": "data",
        "compute_loss": "forward",
        "evaluate": "evaluation",
        "_save_checkpoint": "saving",
        "_generate": "generation",
        "_calculate_rewards": "reward",
        "_get_per_token_logps_and_entropies": "forward",
    }
    found = [(trainer, name, phase) for name, phase in methods.items() if hasattr(trainer, name)]
    # DeepSpeed's engine steps within backward, and the optimizer's own step then does nothing
    steppers = [one for one in (optimizer, getattr(trainer, "deepspeed", None)) if one is not None]
    return [*found, (trainer.accelerator, "backward", "backward"), *((one, "step", "optimiser") for one in steppers)]


def router_weight(trainer: Any) -> float | None:
    """Weight of the mixture-of-experts auxiliary loss, None where the model has none."""
    return trainer.router_aux_loss_coef if trainer.aux_loss_enabled else None


def accumulation_steps(trainer: Any) -> int:
    """Micro-batches of the current step; fewer than asked for at the end of an epoch."""
    return trainer.current_gradient_accumulation_steps


def refuse_split_sequences(trainer: Any) -> None:
    """Ranks that share a sequence would be counted as ranks that hold different ones."""
    sizes = {name: getattr(trainer, f"get_{name}_size")() for name in ("tp", "cp", "sp")}
    shared = {name: size for name, size in sizes.items() if size != 1}
    if shared:
        raise ValueError(f"{type(trainer).__name__} needs a batch of its own on every rank; set {shared} to 1")

"""Keys that people bring from TRL, transformers and alignment-handbook, and where they are written here."""

from collections.abc import Collection
from typing import Any

from alignkit.recipe.problems import KeyPath, dotted

# TRL options that say which loss is computed. Here the objective says it, and TRL's own loss is never called.
OBJECTIVE_OWNS = {
    "beta": "",
    "desirable_weight": "",
    "undesirable_weight": "",
    "loss_type": "choose the method with objective.name",
    "epsilon": "",
    "epsilon_high": "",
    "delta": "",
    "top_entropy_quantile": "",
    "entropy_coef": "",
    "importance_sampling_level": "write objective: {name: grpo, ratio: sequence}",
    "scale_rewards": "write objective: {name: grpo, scaling: none}",
    "use_bias_correction_kl": "write objective: {name: grpo, kl: k3}",
    "reward_weights": "write reward.combine, the rule that makes one reward of several",
    "multi_objective_aggregation": "write reward.combine, the rule that makes one reward of several",
    "use_adaptive_entropy": "no objective adapts its entropy bonus; remove it",
    "entropy_coef_min": "no objective adapts its entropy bonus; remove it",
    "entropy_coef_max": "no objective adapts its entropy bonus; remove it",
    "entropy_coef_delta": "no objective adapts its entropy bonus; remove it",
    "entropy_target": "no objective adapts its entropy bonus; remove it",
    "off_policy_mask_threshold": "no objective masks answers by how old they are; remove it",
    "sapo_temperature_neg": "no objective is SAPO; remove it",
    "sapo_temperature_pos": "no objective is SAPO; remove it",
    "vespo_k_pos": "no objective is VESPO; remove it",
    "vespo_lambda_pos": "no objective is VESPO; remove it",
    "vespo_k_neg": "no objective is VESPO; remove it",
    "vespo_lambda_neg": "no objective is VESPO; remove it",
    "loss_weights": "an objective is one method; remove it",
    "label_smoothing": "write objective: {name: robust_dpo, flip_rate: RATE}",
    "center_rewards_coefficient": "write objective: {name: bradley_terry, centering: NUMBER}",
    "label_smoothing_factor": "no objective smooths token labels; remove it",
    "f_divergence_type": "no objective has TRL's f-divergences; remove it",
    "f_alpha_divergence_coef": "no objective has TRL's f-divergences; remove it",
    "ld_alpha": "no objective weights lengths as LD-DPO does; remove it",
    "use_weighting": "no objective weights pairs as WPO does; remove it",
    "discopop_tau": "no objective is DiscoPOP; remove it",
    "sync_ref_model": "no objective moves its reference; remove it",
    "ref_model_mixup_alpha": "no objective moves its reference; remove it",
    "ref_model_sync_steps": "no objective moves its reference; remove it",
    "rpo_alpha": "no objective adds a likelihood term; remove it",
    "reference_free": "an objective knows whether it needs a reference; remove it",
    "force_use_ref_model": "an objective knows whether it needs a reference; remove it",
}

# key: (section it belongs to, what to write)
BELONGS = {
    "report_to": ("section report", "write report: {value}"),
    "model_init_kwargs": ("model", "write model.precision, model.attention, model.revision"),
    "ref_model_init_kwargs": ("model", "the reference is loaded like the model; remove it"),
    "bf16": ("model", "write model.precision: bfloat16"),
    "fp16": ("model", "write model.precision: float16"),
    "bf16_full_eval": ("model", "write model.precision: bfloat16"),
    "fp16_full_eval": ("model", "write model.precision: float16"),
    "fp16_backend": ("model", "write model.precision: float16"),
    "fp16_opt_level": ("model", "write model.precision: float16"),
    "half_precision_backend": ("model", "write model.precision"),
    "dtype": ("model", "write model.precision: {value}"),
    "torch_dtype": ("model", "write model.precision: {value}"),
    "model_name_or_path": ("model", "write model.path: {value}"),
    "model_revision": ("model", "write model.revision: {value}"),
    "tokenizer_name_or_path": ("model", "write model.tokenizer: {value}"),
    "tokenizer_name": ("model", "write model.tokenizer: {value}"),
    "chat_template_path": ("model", "write model.chat_template: {value}"),
    "attn_implementation": ("model", "write model.attention: {value}"),
    "use_flash_attention_2": ("model", "write model.attention: flash_attention_2"),
    "trust_remote_code": ("model", "write model.trust_remote_code, with the commit as model.revision, or remove it"),
    "pad_token": ("model's tokenizer", "padding is never trained, so any token will do; remove it"),
    "use_peft": ("model", "write model.adapter: {{rank: 16}}"),
    "lora_r": ("model", "write model.adapter.rank: {value}"),
    "lora_alpha": ("model", "write model.adapter.alpha: {value}"),
    "lora_dropout": ("model", "write model.adapter.dropout: {value}"),
    "lora_target_modules": ("model", "write model.adapter.targets"),
    "use_dora": ("model", "write model.adapter.dora: {value}"),
    "load_in_4bit": ("model", "write model.adapter.quantize: 4bit"),
    "load_in_8bit": ("model", "write model.adapter.quantize: 8bit"),
    "dataset_mixer": ("data", "write data.train: [{{source: NAME, weight: 1.0}}]"),
    "dataset_mixture": ("data", "write data.train: [{{source: NAME, weight: 1.0}}]"),
    "dataset_name": ("data", "write data.train: [{{source: {value}}}]"),
    "dataset_config": ("data", "write data.train.0.name: {value}"),
    "dataset_configs": ("data", "write data.train.0.name"),
    "dataset_splits": ("data", "write data.train.0.split and data.eval.0.split"),
    "dataset_train_split": ("data", "write data.train.0.split: {value}"),
    "dataset_test_split": ("data", "write data.eval.0.split: {value}"),
    "test_split_size": ("data", "write data.holdout: {value}"),
    "dataset_text_field": ("data", "write data.train.0.columns: {{text: {value}}}"),
    "dataset_kwargs": ("data", "rows are prepared by the data section; remove it"),
    "shuffle_dataset": ("data", "training rows are always shuffled, by data.seed; remove it"),
    "auto_insert_empty_system_msg": ("data", "no message is ever invented; remove it"),
}

# old name: (today's name, note)
RENAMED = {
    "warmup_ratio": ("train.warmup_steps", "below 1 it is a ratio of all steps"),
    "max_prompt_length": ("train.max_length", "one limit for prompt and answer together"),
    "max_completion_length": ("train.max_length", "one limit for prompt and answer together"),
    "max_target_length": ("train.max_length", "one limit for prompt and answer together"),
    "max_seq_length": ("train.max_length", ""),
    "evaluation_strategy": ("train.eval_strategy", ""),
    "per_gpu_train_batch_size": ("train.per_device_train_batch_size", ""),
    "per_gpu_eval_batch_size": ("train.per_device_eval_batch_size", ""),
    "group_by_length": ("train.train_sampling_strategy: group_by_length", ""),
    "no_cuda": ("train.use_cpu", ""),
    "adafactor": ("train.optim: adafactor", ""),
    "push_to_hub_model_id": ("train.hub_model_id", ""),
    "preprocessing_num_workers": ("train.dataset_num_proc", ""),
    "use_mps_device": ("train.use_cpu: false", ""),
    "batch_size": ("train.per_device_train_batch_size", "or train.global_batch_size for one over all processes"),
    "train_batch_size": ("train.global_batch_size", "examples per optimiser step over all processes"),
    "lr": ("train.learning_rate", ""),
    "epochs": ("train.num_train_epochs", ""),
    "method": ("objective.name", ""),
    "dataset": ("data", ""),
}

# key: why it is not accepted, and what to do
REFUSED = {
    "overwrite_output_dir": ("is gone", "an output folder is never emptied; remove it"),
    "logging_dir": ("is gone", "set the environment variable TENSORBOARD_LOGGING_DIR"),
    "save_safetensors": ("is gone", "checkpoints are always safetensors; remove it"),
    "include_tokens_per_second": ("is gone", "remove it"),
    "jit_mode_eval": ("is gone", "remove it"),
    "use_ipex": ("is gone", "remove it"),
    "torchdynamo": ("is gone", "write train.torch_compile: true"),
    "past_index": ("is gone", "remove it"),
    "ray_scope": ("is gone", "remove it"),
    "tpu_num_cores": ("is gone", "remove it"),
    "use_logits_to_keep": ("is gone", "it is always done; remove it"),
    "generate_during_eval": ("is gone", "remove it"),
    "is_encoder_decoder": ("is gone", "only decoder models are trained; remove it"),
    "label_pad_token_id": ("is gone", "remove it"),
    "padding_value": ("is gone", "remove it"),
    "model_adapter_name": ("is gone", "remove it"),
    "ref_adapter_name": ("is gone", "remove it"),
    "hub_token": ("would put a secret into a file", "remove it and log in with hf auth login, or set HF_TOKEN"),
    "push_to_hub_token": ("would put a secret into a file", "remove it and log in with hf auth login, or set HF_TOKEN"),
    "do_train": ("is not read by any trainer", "remove it"),
    "do_eval": ("is not read by any trainer", "write train.eval_strategy: epoch"),
    "do_predict": ("is not read by any trainer", "remove it"),
    "resume_from_checkpoint": ("is not read by any trainer", "remove it; resuming is asked for on the command line"),
    "local_rank": ("is set by the launcher", "remove it"),
    "parallelism_config": ("cannot be written in a recipe", "set it in the file of accelerate launch"),
}


def moved(key: str, path: KeyPath, value: Any, hyperparameters: Collection[str]) -> tuple[str, str] | None:
    """What is wrong with a well-known key, and what to write; None for a key that is not known.

    `hyperparameters` are those of the recipe's objective, which may own a TRL option of the same name.
    """
    where = dotted(path)
    if key in OBJECTIVE_OWNS:
        what = f"unknown key {where}" if path[0] == "objective" else f"{where} belongs to the objective"
        advice = OBJECTIVE_OWNS[key] or f"this one has no {key}; remove it"
        return what, f"write objective.{key}" if key in hyperparameters else advice
    if key in BELONGS:
        section, text = BELONGS[key]
        what = "is not the name here" if path[0] == section else f"belongs to the {section}"
        return f"{where} {what}", text.format(value=_spelled(value))
    if key in RENAMED:
        name, note = RENAMED[key]
        text = f"write {name}" if ":" in name or "." not in name else f"write {name}: {_spelled(value)}"
        return f"{where} is not the name here", f"{text} ({note})" if note else text
    if key in REFUSED:
        why, text = REFUSED[key]
        return f"{where} {why}", text
    return None


def _spelled(value: Any) -> str:
    """A value as YAML writes it, if it is short and plain."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    plain = isinstance(value, str | int | float) and len(text) <= 60 and text.isprintable()
    return text if plain else "VALUE"

"""Every way we know to get a recipe wrong, with the exact words that the user reads."""

from pathlib import Path

import pytest

from alignkit.recipe import RecipeError, load

PAIRS = "objective: {name: dpo, beta: 0.1}\n"
TOKENS = "objective: {name: mixce, eta: 0.5}\n"
MODEL = "model: {path: org/model}\n"
DATA = "data: {train: [{source: org/rows}]}\n"
TOP = PAIRS + MODEL + DATA + "train:\n"  # the next line is line 5

# Text of the file, then its problems without "x.yaml:"
CASES = {
    # unknown keys
    "typo in train": (
        TOP + "  learning_rte: 1e-5\n",
        "5: unknown key train.learning_rte; did you mean learning_rate?",
    ),
    "typo in objective": (
        "objective: {name: hdpo, alhpa: 0.9}\n" + MODEL + DATA,
        "1: unknown key objective.alhpa; did you mean alpha?",
    ),
    "hyperparameter of another objective": (
        "objective: {name: dpo, tau: 0.9}\n" + MODEL + DATA,
        "1: unknown key objective.tau; choose from name, beta",
    ),
    "typo in model": (
        PAIRS + "model: {path: org/model, atention: sdpa}\n" + DATA,
        "2: unknown key model.atention; did you mean attention?",
    ),
    "typo in adapter": (
        PAIRS + "model:\n  path: org/model\n  adapter:\n    rnak: 8\n" + DATA,
        "5: unknown key model.adapter.rnak; did you mean rank?",
    ),
    "typo in a source": (
        PAIRS + MODEL + "data:\n  train:\n    - source: org/rows\n      splt: train\n",
        "6: unknown key data.train.0.splt; did you mean split?",
    ),
    "typo in a section": (
        PAIRS + MODEL + DATA + "trian: {seed: 1}\n",
        "4: unknown key trian; did you mean train?",
    ),
    "abbreviation": (
        TOP + "  learning_r: 1e-5\n",
        "5: unknown key train.learning_r; did you mean learning_rate?",
    ),
    "abbreviation of two keys": (
        TOP + "  per_device: 1\n",
        "5: unknown key train.per_device; did you mean per_device_train_batch_size or per_device_eval_batch_size?",
    ),
    "camel case": (
        TOP + "  learningRate: 1e-5\n",
        "5: unknown key train.learningRate; did you mean learning_rate?",
    ),
    "nothing like it": (
        TOP + "  zzzz: 1\n",
        "5: unknown key train.zzzz",
    ),
    # keys of another section
    "beta in train": (
        TOP + "  beta: 0.1\n",
        "5: train.beta belongs to the objective; write objective.beta",
    ),
    "beta at the top": (
        PAIRS + MODEL + DATA + "beta: 0.1\n",
        "4: beta belongs to the objective; write objective.beta",
    ),
    "beta for an objective without one": (
        TOKENS + MODEL + DATA + "train: {beta: 0.1}\n",
        "4: train.beta belongs to the objective; this one has no beta; remove it",
    ),
    "loss type": (
        TOP + "  loss_type: ipo\n",
        "5: train.loss_type belongs to the objective; choose the method with objective.name",
    ),
    "label smoothing": (
        TOP + "  label_smoothing: 0.1\n",
        "5: train.label_smoothing belongs to the objective; write objective: {name: robust_dpo, flip_rate: RATE}",
    ),
    "moving reference": (
        TOP + "  sync_ref_model: true\n",
        "5: train.sync_ref_model belongs to the objective; no objective moves its reference; remove it",
    ),
    "learning rate in objective": (
        "objective: {name: dpo, learning_rate: 1e-5}\n" + MODEL + DATA,
        "1: objective.learning_rate belongs in train; write train.learning_rate",
    ),
    "learning rate at the top": (
        PAIRS + MODEL + DATA + "learning_rate: 1e-5\n",
        "4: learning_rate belongs in train; write train.learning_rate",
    ),
    "rank in model": (
        PAIRS + "model: {path: org/model, rank: 8}\n" + DATA,
        "2: model.rank belongs in model.adapter; write model.adapter.rank",
    ),
    "limit in data": (
        PAIRS + MODEL + "data: {train: [{source: org/rows}], limit: 8}\n",
        "3: data.limit belongs in data.train.0; write data.train.0.limit",
    ),
    "report_to": (
        TOP + "  report_to: wandb\n",
        "5: train.report_to belongs to the section report; write report: wandb",
    ),
    "bf16": (
        TOP + "  bf16: true\n",
        "5: train.bf16 belongs to the model; write model.precision: bfloat16",
    ),
    "torch_dtype in model": (
        PAIRS + "model: {path: org/model, torch_dtype: bfloat16}\n" + DATA,
        "2: model.torch_dtype is not the name here; write model.precision: bfloat16",
    ),
    "model_init_kwargs": (
        TOP + "  model_init_kwargs: {attn_implementation: sdpa}\n",
        "5: train.model_init_kwargs belongs to the model; write model.precision, model.attention, model.revision",
    ),
    "remote code": (
        TOP + "  trust_remote_code: true\n",
        "5: train.trust_remote_code belongs to the model; "
        "write model.trust_remote_code, with the commit as model.revision, or remove it",
    ),
    "shuffle": (
        TOKENS + MODEL + DATA + "train: {shuffle_dataset: true}\n",
        "4: train.shuffle_dataset belongs to the data; training rows are always shuffled, by data.seed; remove it",
    ),
    # old and foreign names
    "warmup_ratio": (
        TOP + "  warmup_ratio: 0.1\n",
        "5: train.warmup_ratio is not the name here; "
        "write train.warmup_steps: 0.1 (below 1 it is a ratio of all steps)",
    ),
    "max_prompt_length": (
        TOP + "  max_prompt_length: 512\n",
        "5: train.max_prompt_length is not the name here; "
        "write train.max_length: 512 (one limit for prompt and answer together)",
    ),
    "evaluation_strategy": (
        TOP + "  evaluation_strategy: epoch\n",
        "5: train.evaluation_strategy is not the name here; write train.eval_strategy: epoch",
    ),
    "overwrite_output_dir": (
        TOP + "  overwrite_output_dir: true\n",
        "5: train.overwrite_output_dir is gone; an output folder is never emptied; remove it",
    ),
    "handbook model": (
        PAIRS + MODEL + DATA + "model_name_or_path: org/other\n",
        "4: model_name_or_path belongs to the model; write model.path: org/other",
    ),
    "handbook adapter": (
        PAIRS + MODEL + DATA + "lora_r: 128\n",
        "4: lora_r belongs to the model; write model.adapter.rank: 128",
    ),
    "handbook data": (
        PAIRS + MODEL + DATA + "dataset_mixer: {org/rows: 1.0}\n",
        "4: dataset_mixer belongs to the data; write data.train: [{source: NAME, weight: 1.0}]",
    ),
    "secret": (
        TOP + "  hub_token: hf_abcdefghijklmnop\n",
        "5: train.hub_token would put a secret into a file; remove it and log in with hf auth login, or set HF_TOKEN",
    ),
    "option without a reader": (
        TOP + "  do_train: true\n",
        "5: train.do_train is not read by any trainer; remove it",
    ),
    # types
    "text for a number": (
        TOP + "  learning_rate: small\n",
        "5: train.learning_rate = 'small' should be a number",
    ),
    "digit separators": (
        TOP + "  max_steps: 10_000\n",
        "5: train.max_steps = '10_000' should be a whole number; write 10000",
    ),
    "per cent": (
        PAIRS + MODEL + "data: {train: [{source: org/rows}], holdout: 10%}\n",
        "3: data.holdout = '10%' should be a number; write 0.1",
    ),
    "fraction for a count": (
        TOP + "  max_steps: 1.5\n",
        "5: train.max_steps = 1.5 should be a whole number",
    ),
    "yes": (
        TOP + "  disable_dropout: yes\n",
        "5: train.disable_dropout = 'yes' should be true or false; write true",
    ),
    "one for true": (
        TOP + "  disable_dropout: 1\n",
        "5: train.disable_dropout = 1 should be true or false; write true",
    ),
    "not a number": (
        TOP + "  learning_rate: .nan\n",
        "5: train.learning_rate = nan should be a number",
    ),
    "null": (
        TOP + "  learning_rate:\n",
        "5: train.learning_rate = null should be a number; leave the key out for its default",
    ),
    "number for text": (
        PAIRS + "model: {path: 7}\n" + DATA,
        "2: model.path = 7 should be text; write it in quotes: '7'",
    ),
    "false for a strategy": (
        TOP + "  save_strategy: false\n",
        "5: train.save_strategy = false should be one of no, steps, epoch, best; write no",
    ),
    "typo in a choice": (
        TOP + "  eval_strategy: epochs\n",
        "5: train.eval_strategy = 'epochs' should be one of no, steps, epoch; did you mean epoch?",
    ),
    "typo in a long choice": (
        TOP + "  optim: adamw_torhc\n",
        "5: train.optim = 'adamw_torhc' should be one of 41 names; did you mean adamw_torch?",
    ),
    "typo in a schedule": (
        TOP + "  lr_scheduler_type: cosin\n",
        "5: train.lr_scheduler_type = 'cosin' should be one of 12 names; did you mean cosine?",
    ),
    "choice of a hyperparameter": (
        "objective: {name: robust_dpo, form: biased}\n" + MODEL + DATA,
        "1: objective.form = 'biased' should be one of conservative, unbiased; did you mean unbiased?",
    ),
    "word or number": (
        "objective: {name: napo, q: dynamc}\n" + MODEL + DATA,
        "1: objective.q = 'dynamc' should be a number or dynamic; did you mean dynamic?",
    ),
    "source not in a list": (
        PAIRS + MODEL + "data: {train: org/rows}\n",
        "3: data.train = 'org/rows' should be a list of mappings; write [{source: org/rows}]",
    ),
    "mapping not in a list": (
        PAIRS + MODEL + "data:\n  train:\n    source: org/rows\n",
        "5: data.train = a mapping of 1 should be a list of mappings; write [{...}], a list",
    ),
    "one module": (
        PAIRS + "model: {path: org/model, adapter: {targets: q_proj}}\n" + DATA,
        "2: model.adapter.targets = 'q_proj' should be all-linear or a list of text; write [q_proj]",
    ),
    "adapter by name": (
        PAIRS + "model: {path: org/model, adapter: lora}\n" + DATA,
        "2: model.adapter = 'lora' should be a mapping or null; write {rank: ...}",
    ),
    "list of lists": (
        PAIRS + MODEL + "data: {train: [[org/rows]]}\n",
        "3: data.train.0 = a list of 1 should be a mapping",
    ),
    # ranges
    "alpha of zero": (
        "objective:\n  name: hdpo\n  alpha: 0\n" + MODEL + DATA,
        "3: objective.alpha = 0.0 must be positive and finite; 1 is plain DPO",
    ),
    "rank of zero": (
        PAIRS + "model: {path: org/model, adapter: {rank: 0}}\n" + DATA,
        "2: model.adapter.rank = 0 must be at least 1; 8 to 64 is usual",
    ),
    "weight of zero": (
        PAIRS + MODEL + "data:\n  train:\n    - {source: org/rows, weight: 0}\n",
        "5: data.train.0.weight = 0.0 must be a positive number; remove the source to leave it out",
    ),
    "batch of zero": (
        TOP + "  per_device_train_batch_size: 0\n",
        "5: train.per_device_train_batch_size = 0 must be at least 1",
    ),
    "momentum of one": (
        TOP + "  adam_beta1: 1\n",
        "5: train.adam_beta1 = 1 must be below 1",
    ),
    "global batch of zero": (
        TOP + "  global_batch_size: 0\n",
        "5: train.global_batch_size = 0 must be at least 1",
    ),
    # sections
    "no objective": (MODEL + DATA, " objective is missing; write objective: {name: dpo}"),
    "no model": (PAIRS + DATA, " model is missing; write model: {path: NAME}"),
    "no path": (PAIRS + "model: {precision: auto}\n" + DATA, "2: model.path is missing; write path: VALUE"),
    "no sources": (PAIRS + MODEL + "data: {seed: 1}\n", "3: data.train is missing; write train: [...]"),
    "unknown objective": (
        "objective: {name: h_dpo}\n" + MODEL + DATA,
        "1: no objective named 'h_dpo'; did you mean 'hdpo'?",
    ),
    "unknown objective, short": (
        "objective: h_dpo\n" + MODEL + DATA,
        "1: no objective named 'h_dpo'; did you mean 'hdpo'?",
    ),
    "objective that cannot be imported": (
        "objective: {name: nowhere.Loss}\n" + MODEL + DATA,
        "1: cannot import 'nowhere.Loss': No module named 'nowhere'; looked in FOLDER and the installed packages",
    ),
    "objective of another kind": (
        "objective: {name: pathlib.Path}\n" + MODEL + DATA,
        "1: pathlib.Path is not a subclass of alignkit.objectives.Objective",
    ),
    "list for a section": (
        PAIRS + "model: [org/model]\n" + DATA,
        "2: model should be a mapping; write model: {path: NAME}",
    ),
    "text for train": (PAIRS + MODEL + DATA + "train: fast\n", "4: train should be a mapping"),
    "unknown tracker": (
        PAIRS + MODEL + DATA + "report: wandbb\n",
        "4: report: 'wandbb' is no tracker; did you mean wandb?",
    ),
    "tracker twice": (
        PAIRS + MODEL + DATA + "report: [wandb, wandb]\n",
        "4: report: wandb is listed twice; keep one of them",
    ),
    "none among trackers": (
        PAIRS + MODEL + DATA + "report: [wandb, none]\n",
        "4: report: 'none' is no tracker; write report: none, without a list",
    ),
    "empty file": ("# nothing\n", " is empty; write objective, model, data and train"),
    "list": ("- a\n", " is not a mapping of sections; write objective, model, data and train"),
    # files
    "missing data file": (
        PAIRS + MODEL + "data:\n  train:\n    - source: pairs.jsonl\n",
        "5: data.train.0.source = 'pairs.jsonl' does not exist; looked in FOLDER",
    ),
    # contradictions
    "batch that cannot be split": (
        TOP + "  per_device_train_batch_size: 4\n  global_batch_size: 30\n",
        "6: train.global_batch_size = 30 is no multiple of train.per_device_train_batch_size = 4; write 28 or 32",
    ),
    "batch smaller than TRL's default": (
        TOP + "  global_batch_size: 4\n",
        "5: train.global_batch_size = 4 is no multiple of train.per_device_train_batch_size = 8; "
        "write 8, or a smaller train.per_device_train_batch_size",
    ),
    "two batch sizes": (
        TOP + "  global_batch_size: 32\n  gradient_accumulation_steps: 4\n",
        "6: train.gradient_accumulation_steps contradicts train.global_batch_size, from which it follows; "
        "keep one of the two",
    ),
    "packing of pairs": (
        TOP + "  packing: true\n",
        "5: train.packing is an option of TRL's SFTConfig, and this objective trains with DPOConfig; remove it",
    ),
    "padding-free pairs": (
        TOP + "  padding_free: true\n",
        "5: train.padding_free is switched off by TRL for pairs, in silence; remove it",
    ),
    "dropout of an adapter that TRL switches off": (
        PAIRS + "model: {path: org/model, adapter: {rank: 4, dropout: 0.1}}\n" + DATA,
        "2: model.adapter.dropout is switched off by TRL for this method, in silence; "
        "write train.disable_dropout: false, or remove it",
    ),
    "reference of tokens": (
        TOKENS + MODEL + DATA + "train: {precompute_ref_log_probs: true}\n",
        "4: train.precompute_ref_log_probs is an option of TRL's DPOConfig, and this objective trains with SFTConfig; "
        "remove it",
    ),
    "idle batch size": (
        TOP + "  precompute_ref_batch_size: 4\n",
        "5: train.precompute_ref_batch_size has no effect without train.precompute_ref_log_probs; "
        "write train.precompute_ref_log_probs: true or remove it",
    ),
    "nothing for the reference's cache": (
        TOKENS + MODEL + DATA + "train: {reference_cache: true}\n",
        "4: train.reference_cache is of no use: this objective needs no reference; remove it",
    ),
    "idle packing": (
        TOKENS + MODEL + DATA + "train: {packing_strategy: wrapped}\n",
        "4: train.packing_strategy has no effect without train.packing; write train.packing: true or remove it",
    ),
    "liger": (
        TOP + "  use_liger_kernel: true\n",
        "5: train.use_liger_kernel is deprecated by TRL, whose own fused log-probs replace it; remove it",
    ),
    "nothing to evaluate": (
        TOP + "  eval_strategy: steps\n",
        "5: train.eval_strategy = steps has nothing to evaluate on; write data.eval or data.holdout",
    ),
    "idle eval_steps": (
        TOP + "  eval_steps: 10\n",
        "5: train.eval_steps has no effect while train.eval_strategy is no; write train.eval_strategy: steps",
    ),
    "best model": (
        PAIRS
        + MODEL
        + "data: {train: [{source: org/rows}], holdout: 0.1}\n"
        + "train: {eval_strategy: epoch, load_best_model_at_end: true}\n",
        "4: train.load_best_model_at_end needs train.eval_strategy (epoch) to be train.save_strategy (steps); "
        "write train.eval_strategy: steps",
    ),
    "two names of checkpointing": (
        TOP + "  activation_checkpointing: true\n  gradient_checkpointing: false\n",
        "6: train.gradient_checkpointing is the old name of train.activation_checkpointing; keep the new one",
    ),
    "endless data": (
        PAIRS + MODEL + "data: {train: [{source: org/rows}], streaming: true}\n",
        " train.max_steps is missing, and data.streaming has no length; write train.max_steps: NUMBER",
    ),
    "what TRL refuses": (
        TOP + "  dataloader_prefetch_factor: 2\n",
        "5: TRL refuses these options of train: --dataloader_prefetch_factor can only be set when data is loaded in a "
        "different process, i.e. when --dataloader_num_workers > 0.",
    ),
    # YAML
    "duplicate key": (
        TOP + "  seed: 1\n  max_steps: 2\n  seed: 3\n",
        "7: duplicate key train.seed, already written in line 5; keep one of them",
    ),
    "tab": (
        TOP + "\tseed: 1\n",
        "5: not valid YAML: found character '\\t' that cannot start any token while scanning for the next token; "
        "indent with spaces, never tabs",
    ),
    "colon in text": (
        PAIRS + MODEL + "note: a: b\n" + DATA,
        "3: not valid YAML: mapping values are not allowed here; put text that contains ': ' in quotes",
    ),
    "tag": (
        TOP + "  seed: !!python/object/apply:os.system [ls]\n",
        "5: the tag tag:yaml.org,2002:python/object/apply:os.system is not read; write the plain value",
    ),
    "merge key": (
        "base: &base {name: dpo}\nobjective:\n  <<: *base\n" + MODEL + DATA,
        "3: merge keys (<<) are not read; write the keys out",
    ),
    "alias of nothing": (
        "objective: *dpo\n" + MODEL + DATA,
        "1: the alias *dpo has no anchor before it; write &dpo at the value it stands for",
    ),
    "two documents": (
        PAIRS + MODEL + DATA + "---\nmore: 1\n",
        "4: a second document starts here; one file, one recipe",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_recipe_says_what_to_write_instead(case, write):
    text, expected = CASES[case]
    with pytest.raises(RecipeError) as caught:
        load(write(text))
    assert str(caught.value) == f"x.yaml:{expected}".replace("FOLDER", str(Path.cwd()))

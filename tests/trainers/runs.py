"""Short training runs on a tiny model, ours and TRL's, and what they logged."""

import math
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from trl import GRPOConfig

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.trainers import GroupTrainer, ObjectiveTrainer

ROWS = [
    {
        "prompt": f"{i} The cat",
        "chosen": " sat on the mat" * (1 + i % 3),
        "rejected": " barked loudly " * (1 + i % 2),
        "score_chosen": 5.0 + i % 4,
        "score_rejected": 4.0,
    }
    for i in range(16)
]
TEXTS = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in ROWS]
CLOCK = {"eval_runtime", "train_runtime", "epoch", "total_flos"}
LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])


def train(
    trainer: type, config: type, tmp_path: Any, rows: list[dict] = ROWS, **options: Any
) -> list[dict[str, float]]:
    """Log history of a run of four steps; `options` are the trainer's, and under `args` the config's."""
    args = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 2,
        "max_steps": 4,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    args |= options.pop("args", {})
    if issubclass(trainer, ObjectiveTrainer):
        options.setdefault("shared_prefix", False)  # TRL's forward, to compare to the bit
    run = trainer(
        model=options.pop("model", None) or resolve("tiny:llama"),
        args=config(**args),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:3]),
        **options,
    )
    run.train()
    return [
        {name: value for name, value in entry.items() if name not in CLOCK and "per_second" not in name}
        for entry in run.state.log_history
    ]


def differences(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, float]:
    """Largest difference of each quantity that both logged; whatever only TRL logged is infinitely far."""
    assert len(ours) == len(theirs)
    largest: dict[str, float] = {}
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in other.items():
            gap = abs(mine[name] - value) if name in mine else math.inf
            largest[name] = max(largest.get(name, 0.0), gap)
    return largest


def answer_reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """A reward that differs between answers, and that a tiny model gets without having learned anything."""
    return [float(sum(ids) % 3 == 0) for ids in completion_ids]


def group_trainer(tmp_path: Any, trainer: type = GroupTrainer, **options: Any) -> Any:
    """A trainer on sixteen prompts of different lengths, four answers each; `args` are the config's."""
    args = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "max_completion_length": 6,
        "max_steps": 4,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **options.pop("args", {}),
    }
    if trainer is GroupTrainer:
        options.setdefault("objective", make("grpo"))
    rows = options.pop("rows", [{"prompt": row["prompt"] + " sat" * (i % 3)} for i, row in enumerate(ROWS)])
    return trainer(
        model=options.pop("model", None) or resolve("tiny:llama"),
        args=GRPOConfig(**args),
        reward_funcs=options.pop("reward_funcs", answer_reward),
        train_dataset=Dataset.from_list(rows),
        **options,
    )

"""What each process of a launch runs: every trainer, with all weights and with an adapter, one after the other.

An epoch ends with fewer rows than two processes take, so that one of them has none. Plain SGD, because AdamW
divides by the size of gradients and so makes rounding errors of tiny ones large.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from accelerate.state import AcceleratorState

from alignkit.models.load import load_tokenizer
from alignkit.models.reward import load_reward_model
from alignkit.models.spec import ModelSpec
from alignkit.recipe import load
from alignkit.recipe.build import build
from tests.recipes.runs import CLOCK, weights

COMMON = (
    "train.max_steps=4",
    "train.eval_steps=4",
    "train.optim=sgd",
    "train.learning_rate=0.05",
    "train.save_strategy=steps",
    "train.save_steps=4",
    "train.disable_tqdm=true",
    "report=none",
)
UNEVEN = ("train.global_batch_size=4", "data.train.0.limit=9", "data.eval.0.limit=3")
GROUPS = (
    "objective.beta=0.05",  # loads a reference
    "objective.scaling=batch",
    "reward={members: [{model: REWARD}]}",
    "train.global_batch_size=8",
)
PARAMETERS = {"full": (), "LoRA": ("model.adapter.rank=4",)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a trainer learns, and rows of a micro-batch on one of two processes."""

    full: str  # recipes
    lora: str
    micro: int
    eval_micro: int = 1
    overrides: tuple[str, ...] = UNEVEN


REWARD = "reward"  # folder of a reward model
CASES = {
    "SFT": Case(full="mixce/tiny", lora="poft/tiny", micro=1),
    "pairs": Case(full="napo/tiny", lora="mmpo/tiny", micro=2),  # napo: a statistic of the micro-batch on both
    "KTO": Case(full="kto/tiny", lora="kto/tiny", micro=2),  # likewise
    "SRPO": Case(
        full="srpo/tiny", lora="srpo/tiny", micro=1, overrides=(*UNEVEN, "train.precompute_ref_log_probs=true")
    ),
    "reward": Case(full="bradley_terry/tiny", lora="plackett_luce/tiny", micro=1),
    "RL": Case(full="grpo/tiny", lora="grpo/tiny", micro=4, eval_micro=4, overrides=GROUPS),
}


@dataclass(frozen=True)
class Trained:
    """What a cell left in its folder."""

    folder: Path

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.folder / "facts.json").read_text())

    @property
    def weights(self) -> dict[str, Any]:
        return weights(self.folder / "saved-0")


def built(trainer: str, parameters: str, folder: Path, processes: int, *more: str) -> Any:
    """A trainer of one cell on so many processes, of which this is one; all of them have the same global batch."""
    case = CASES[trainer]
    share = 2 // processes
    sizes = (
        f"train.per_device_train_batch_size={case.micro * share}",
        f"train.per_device_eval_batch_size={case.eval_micro * share}",
    )
    options = (f"train.output_dir={folder}", *COMMON, *case.overrides, *sizes, *PARAMETERS[parameters], *more)
    last = dict(option.partition("=")[::2] for option in options)
    written = (f"{key}={value}".replace("REWARD", str(folder.parent / REWARD)) for key, value in last.items())
    return build(load(getattr(case, parameters.lower()), [*written]))


def trained(trainer: str, parameters: str, folder: Path, processes: int) -> Trained:
    """Train one cell on so many processes; a reward model for it is beside its folder."""
    return finished(with_known_answers(built(trainer, parameters, folder, processes)), folder)


def with_known_answers(run: Any) -> Any:
    """The trainer; where it samples answers, with those of `recorded`."""
    if hasattr(run, "rollout_func"):
        run.rollout_func = recorded
    return run


def finished(run: Any, folder: Path, checkpoint: Path | None = None) -> Trained:
    """Train, from a checkpoint if there is one, save, and write down what came of it."""
    run.train(resume_from_checkpoint=checkpoint)
    run.save_model(str(folder / f"saved-{run.accelerator.process_index}"))
    if run.is_world_process_zero():
        plugin, reference = run.accelerator.state.deepspeed_plugin, getattr(run, "ref_model", None)
        facts = {
            "processes": run.accelerator.num_processes,
            "zero_stage": None if plugin is None else plugin.zero_stage,
            "model": share_held(run.model),
            "reference": None if reference is None else share_held(reference),
            "history": [
                {key: value for key, value in entry.items() if not key.endswith((*CLOCK, "step_time", "total_flos"))}
                for entry in run.state.log_history
            ],
        }
        (folder / "facts.json").write_text(json.dumps(facts))
    return Trained(folder)


def share_held(model: Any) -> float:
    """Of a model's weights, the share that this process keeps; under ZeRO-3 others are gathered when needed."""
    kept = sum(getattr(weight, "ds_tensor", weight).numel() for weight in model.parameters())
    return kept / sum(getattr(weight, "ds_numel", weight.numel()) for weight in model.parameters())


def recorded(prompts: list, trainer: Any) -> dict[str, Any]:
    """Answers that follow from the prompt and the answer's number alone: `rollout_func` of TRL."""
    answers = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
    drawn = [crc32(f"{prompt} {number % answers}".encode()) for number, prompt in enumerate(prompts)]
    completions = [[3 + (seed >> place) % 200 for place in range(2 + seed % 6)] for seed in drawn]
    prompt_ids, *_ = trainer._tokenize_prompts(prompts)
    return {"prompt_ids": prompt_ids, "completion_ids": completions, "logprobs": None}


def save_reward_model(folder: Path) -> None:
    """Beside the folders of cells. Not by one of several processes, which might share its weights."""
    spec = ModelSpec(path="tiny:llama")
    load_reward_model(spec).save_pretrained(folder / REWARD)
    load_tokenizer(spec).save_pretrained(folder / REWARD)


def main(folder: Path, cells: list[str]) -> None:
    from tests.distributed import ways  # here, since they train cells of this module

    for cell in cells:
        trainer, parameters, *special = cell.split("-")
        way = ways.WAYS[special[0]] if special else trained
        way(trainer, parameters, folder / cell, processes=2)
        AcceleratorState._reset_state()  # DeepSpeed's configuration keeps the batch sizes of its first trainer


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

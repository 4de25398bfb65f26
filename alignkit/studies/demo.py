"""The demo: does preference training on a hundred pairs change a real chat model as asked?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from alignkit.generation import TransformersSampler
from alignkit.plots import plot_history
from alignkit.recipe.build import build
from alignkit.recipe.schema import Recipe
from alignkit.trainers import PairTrainer

SHOWN = 4  # held-out prompts whose answers are printed
COUNTED = 16  # held-out prompts over whose answers the style is counted


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A model at one moment, on held-out prompts."""

    accuracy: float  # share of pairs whose chosen answer has the higher log-probability per token
    words: float  # mean words of an answer
    examples: float  # share of answers that give an example, as the chosen ones do
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the demo reports."""

    prompts: tuple[str, ...]
    before: Snapshot
    after: Snapshot
    reward_accuracy: float  # share of pairs whose chosen answer gained more log-probability than the rejected one
    pairs: int  # held-out pairs
    curves: Path
    page: Path
    model: Path


def run(recipe: Recipe, prepare: Any = None) -> Outcome:
    """Train `recipe`, a preference method on conversations, and compare its model before and after.

    `prepare` is called with the trainer before it runs, to add callbacks.
    """
    trainer = build(recipe)
    if not isinstance(trainer, PairTrainer) or trainer.eval_dataset is None:
        raise ValueError("the demo compares answers to held-out pairs; give it a preference method and data.eval")
    if prepare is not None:
        prepare(trainer)
    held_out = _held_out(recipe)
    before = snapshot(trainer, held_out)
    trainer.train()
    after = snapshot(trainer, held_out)
    accuracy = trainer.evaluate()["eval_rewards/accuracies"]
    folder = Path(trainer.args.output_dir)
    trainer.save_model()
    trainer.create_model_card()
    curves = folder / "curves.png"
    plot_history(trainer.state.log_history, curves, f"{recipe.model.path}, {len(trainer.train_dataset)} pairs")
    return Outcome(
        prompts=tuple(chat[-1]["content"] for chat in held_out[:SHOWN]),
        before=before,
        after=after,
        reward_accuracy=accuracy,
        pairs=len(trainer.eval_dataset),
        curves=curves,
        page=folder / "summary.html",
        model=folder,
    )


def snapshot(trainer: PairTrainer, prompts: Sequence[Any]) -> Snapshot:
    """Preference accuracy and greedy answers of the trainer's model as it is now."""
    sampler = TransformersSampler(model=trainer.model, tokenizer=trainer.processing_class, max_new_tokens=64)
    answers = [texts[0].strip() for texts in sampler(prompts)]
    return Snapshot(
        accuracy=preference_accuracy(trainer),
        words=sum(len(answer.split()) for answer in answers) / len(answers),
        examples=sum("for example" in answer.lower() for answer in answers) / len(answers),
        answers=tuple(answers[:SHOWN]),
    )


def preference_accuracy(trainer: PairTrainer) -> float:
    """Share of held-out pairs whose chosen answer is likelier per token than the rejected one."""
    right = total = 0
    trainer.model.eval()
    for inputs in trainer.get_eval_dataloader():
        with torch.inference_mode():
            chosen, rejected = trainer.mean_logps(inputs)
        right += int((chosen > rejected).sum())
        total += len(chosen)
    return right / total


def _held_out(recipe: Recipe) -> list[Any]:
    from alignkit.recipe.build import load_recipe_data

    rows: Dataset = load_recipe_data(recipe).eval
    return [rows[i]["prompt"] for i in range(min(COUNTED, len(rows)))]

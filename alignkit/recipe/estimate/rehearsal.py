"""The recipe's trainer on a few rows and on a model that stands in for its own, to see what a micro-batch costs."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from alignkit.data.account import picked
from alignkit.data.sequences import sequences
from alignkit.recipe.balance import balanced
from alignkit.recipe.build import TRAINERS, adapter_of, own_options, training_arguments
from alignkit.recipe.inspection import training_tokenizer, treatment_of
from alignkit.recipe.preview import Preview
from alignkit.recipe.schema import Recipe, TrainSpec, family_of

SAMPLE = 200  # rows whose lengths are looked at

# Options of `train` that change what a micro-batch costs; the others (evaluation, saving, logging) are left out.
KEPT = (
    "per_device_train_batch_size",
    "max_length",
    "packing",
    "packing_strategy",
    "padding_free",
    "pad_to_multiple_of",
    "completion_only_loss",
    "assistant_only_loss",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "activation_checkpointing",
    "activation_offloading",
    "precompute_ref_log_probs",
    "optim",
    "optim_args",
    "max_grad_norm",
)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A sample of the training set with the tokens of each row after truncation: those of all its sequences."""

    dataset: Dataset
    tokens: np.ndarray  # (rows,)

    @classmethod
    def of(cls, preview: Preview) -> "Rows":
        train: Any = preview.data.train
        sample = train.select(picked(np.zeros(len(train)), SAMPLE, 1))
        treatment = treatment_of(preview.args)
        tokenizer = training_tokenizer(preview.tokenizer, treatment)
        lengths = [
            sum(len(one.cut(treatment).ids) for one in sequences(row, tokenizer, treatment))
            for row in sample.remove_columns([name for name in ("source", "place") if name in sample.column_names])
        ]
        return cls(dataset=sample, tokens=np.array(lengths))

    def longest(self, count: int) -> "Rows":
        """The rows that need the most memory together."""
        return self._first(np.argsort(-self.tokens, kind="stable"), count)

    def typical(self, count: int) -> "Rows":
        """Rows near the mean length."""
        return self._first(np.argsort(np.abs(self.tokens - self.tokens.mean()), kind="stable"), count)

    def _first(self, order: np.ndarray, count: int) -> "Rows":
        """The first of an order, repeated where there are too few."""
        if "label" in self.dataset.column_names:
            order = self._of_both_kinds(order)
        chosen = np.resize(order, count)
        return Rows(dataset=self.dataset.select(chosen), tokens=self.tokens[chosen])

    def _of_both_kinds(self, order: np.ndarray) -> np.ndarray:
        """Of unpaired answers, liked and disliked ones by turns, and not two to one prompt side by side."""
        labels, prompts = self.dataset["label"][:], self.dataset["prompt"][:]
        liked = next(row for row in order if labels[row])
        disliked = next(row for row in order if not labels[row] and prompts[row] != prompts[liked])
        return np.array([liked, disliked])


def rows_of_a_batch(preview: Preview) -> int:
    """Rows that make a micro-batch: examples, or as many as are packed into its sequences."""
    args = preview.args
    count = args.per_device_train_batch_size
    if not getattr(args, "packing", False):
        return count
    return max(count, round(count * args.max_length / float(Rows.of(preview).tokens.mean())))


def rehearse(recipe: Recipe, preview: Preview, rows: Rows, model: Any, folder: Path, **options: Any) -> Any:
    """A trainer of the recipe's kind on `rows`, one micro-batch a step. It writes nothing outside `folder`.

    `options` are TRL's, over those of the recipe. A reference, where one is needed, is a copy of the model.
    """
    kept = {name: value for name, value in recipe.train.items() if name in KEPT}
    quiet = {"output_dir": str(folder), "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    settings = TrainSpec(shared_prefix=recipe.settings.shared_prefix)
    alone = replace(balanced(recipe, preview.data.train), settings=settings, report=())
    alone = replace(alone, train={**kept, **quiet, **options})
    args = training_arguments(alone, 1)
    trainer, _ = TRAINERS[family_of(type(alone.objective))]
    adapter = adapter_of(recipe)
    reference = {}
    if adapter is None and alone.objective.needs_reference:
        reference = {"ref_model": copy.deepcopy(model)}
    return trainer(
        model=model,
        objective=alone.objective,
        args=args,
        train_dataset=rows.dataset,
        processing_class=preview.tokenizer,
        peft_config=adapter,
        **reference,
        **own_options(alone, args),
    )

"""The data report of a recipe: what its trainer would do to its data, and what it did in silence."""

import copy
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from alignkit.data.account import DataReport, take_account
from alignkit.data.errors import DataError
from alignkit.data.layouts import Shape
from alignkit.data.load import Data
from alignkit.data.report import SHOWN
from alignkit.data.sequences import Treatment, Truncation
from alignkit.data.thresholds import nothing_left
from alignkit.trainers.template import training_template

NOT_WITH_IMAGES = {
    "precompute_ref_log_probs": "needs every row before training",
    "packing": "joins rows before training",
    "padding_free": "joins rows without their images",
    "pad_to_multiple_of": "pads text",
}


def inspect_data(
    data: Data, shape: Shape, tokenizer: PreTrainedTokenizerBase, args: Any, *, whole: bool = False
) -> DataReport:
    """The report on what a trainer would do to `data`, all of them with `whole`; `args` are TRL's configuration."""
    treatment = treatment_of(args)
    return take_account(data, shape, training_tokenizer(tokenizer, treatment), treatment, whole=whole)


def treatment_of(args: Any) -> Treatment:
    """How TRL's trainers cut and mask sequences with these options."""
    packing = getattr(args, "packing", False)
    splits = packing and args.packing_strategy != "bfd"  # what is too long goes on in the next sequence
    truncation: Truncation = "keep_start" if packing else getattr(args, "truncation_mode", "keep_start")
    if hasattr(args, "center_rewards_coefficient"):  # a reward model's, which cuts no answer
        truncation = "drop"
    return Treatment(
        max_length=None if splits else getattr(args, "max_length", None),  # none where answers are generated
        truncation=truncation,
        assistant_only=getattr(args, "assistant_only_loss", False),
        completion_only=getattr(args, "completion_only_loss", None) is not False,
    )


def training_tokenizer(tokenizer: PreTrainedTokenizerBase, treatment: Treatment) -> PreTrainedTokenizerBase:
    """The tokenizer with the chat template that its trainer applies."""
    if not treatment.assistant_only:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = training_template(tokenizer)
    return tokenizer


def refuse_images(data: Data, model: str, tokenizer: PreTrainedTokenizerBase | ProcessorMixin, args: Any) -> None:
    """Refuse images where they cannot be trained on: TRL would say so after the model is loaded, or not at all.

    Raises:
        ValueError: a model that reads text only, or an option that needs rows to be tokenized before training.
    """
    columns = data.train.column_names or []
    if "images" not in columns:
        return
    if not isinstance(tokenizer, ProcessorMixin):
        raise ValueError(
            f"the data hold images, and {model} reads text only; write the path of a model that sees, or leave the "
            "column of images out of the data"
        )
    if getattr(args, "completion_only_loss", None) and "completion" not in columns:
        raise ValueError("train.completion_only_loss with images needs rows of prompt and completion; remove it")
    if getattr(args, "assistant_only_loss", None) and "completion" in columns:
        raise ValueError("train.assistant_only_loss has no effect on rows of prompt and completion; remove it")
    for option, reason in NOT_WITH_IMAGES.items():
        if getattr(args, option, None):
            raise ValueError(f"train.{option} {reason}, and images are prepared while training; remove it")


def refuse_lost(data: Data, trainer: Any) -> None:
    """Refuse examples that TRL dropped while it tokenized: the report may have looked at a sample only.

    Raises:
        DataError: there are some.
    """
    if getattr(trainer.args, "packing", False):
        return  # several examples are one row there, and none is dropped
    for use, before, after in (
        ("train", data.train, trainer.train_dataset),
        ("eval", data.eval, trainer.eval_dataset),
    ):
        if isinstance(before, Dataset) and len(after) < len(before):
            kept = set(getattr(after, "rows", after)["place"])
            lost = [place for place in before["place"] if place not in kept]
            places = tuple(dict.fromkeys(lost))[:SHOWN]
            raise DataError(nothing_left(len(lost), places, trainer.args.max_length, use))

"""A recipe's data as its trainer will see them, without its model."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from alignkit.data.account import DataReport
from alignkit.data.layouts import Shape
from alignkit.data.load import Data
from alignkit.data.marked import Marked, mark
from alignkit.recipe.build import load_recipe_data, load_recipe_tokenizer, shape_of, training_arguments
from alignkit.recipe.inspection import inspect_data, refuse_images, training_tokenizer, treatment_of
from alignkit.recipe.schema import Recipe


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a recipe says about its data, loaded."""

    data: Data
    shape: Shape
    tokenizer: PreTrainedTokenizerBase
    args: Any  # TRL's configuration

    def report(self, *, whole: bool = False) -> DataReport:
        """The data report; on all examples, however many, with `whole`."""
        return inspect_data(self.data, self.shape, self.tokenizer, self.args, whole=whole)

    def examples(self, count: int, use: str = "train") -> list[Marked]:
        """The first examples of the training set in its order, or of the evaluation set.

        Raises:
            ValueError: there is no evaluation set.
        """
        rows: Iterable[Any] | None = self.data.train if use == "train" else self.data.eval
        if rows is None:
            raise ValueError("the recipe has no evaluation set; write data.eval or data.holdout")
        treatment = treatment_of(self.args)
        tokenizer = training_tokenizer(self.tokenizer, treatment)
        return [mark(row, tokenizer, treatment) for row in islice(rows, count)]


def preview(recipe: Recipe, processes: int = 1) -> Preview:
    """Load the data and the tokenizer of a recipe that is to run on so many processes.

    Raises:
        ValueError: data, tokenizer or options that cannot be used; the message says what to write instead.
    """
    args = training_arguments(recipe, processes)
    data = load_recipe_data(recipe)
    tokenizer = load_recipe_tokenizer(recipe, data)
    refuse_images(data, recipe.model.path, tokenizer, args)
    return Preview(data=data, shape=shape_of(recipe), tokenizer=tokenizer, args=args)

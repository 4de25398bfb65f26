"""`desirable_weight: balanced`, made a number once the data are known."""

from dataclasses import replace
from typing import Any

from datasets import Dataset

from alignkit.recipe.schema import Recipe


def balanced(recipe: Recipe, train: Dataset) -> Recipe:
    """The recipe with a number for `desirable_weight: balanced`; any other recipe as it is.

    Desirable answers weigh undesirable_weight * n_undesirable / n_desirable, so that both classes have the same total
    weight. KTO's authors ask for a ratio of the totals from 1 to 4/3 (arXiv:2402.01306); this is its lower end.
    The classes are counted over an epoch: after the sources' weights, the hold-out and the label noise.
    """
    objective: Any = recipe.objective
    if getattr(objective, "desirable_weight", None) != "balanced":
        return recipe
    labels = train["label"][:]
    desirable = sum(labels)
    weight = objective.undesirable_weight * (len(labels) - desirable) / desirable
    return replace(recipe, objective=replace(objective, desirable_weight=weight))

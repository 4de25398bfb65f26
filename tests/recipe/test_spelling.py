"""Suggestions."""

import pytest

from alignkit.recipe.spelling import advice, nearest

NAMES = ["learning_rate", "lr_scheduler_type", "eval_steps", "eval_strategy", "save_steps"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("learning_rte", ["learning_rate"]),
        ("Learning-Rate", ["learning_rate"]),
        ("learning", ["learning_rate"]),
        ("eval", ["eval_steps", "eval_strategy"]),
        ("e", []),
        ("qqqqq", []),
    ],
)
def test_nearest(name, found):
    assert nearest(name, NAMES) == found


def test_a_few_choices_are_listed_and_many_are_not():
    assert advice("qqqqq", NAMES) == f"choose from {', '.join(NAMES)}"
    assert advice("qqqqq", [f"name{n}" for n in range(20)]) == ""
    assert advice("qqqqq", []) == ""

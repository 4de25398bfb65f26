"""`desirable_weight: balanced` becomes the number that the data ask for, and is saved as one."""

import json

import pytest

from alignkit.recipe import load
from alignkit.recipe.build import build

RECIPE = """
objective: {{name: kto, desirable_weight: {weight}, undesirable_weight: {down}}}
model: {{path: "tiny:llama"}}
data: {{train: [{{source: rows.jsonl}}]}}
train: {{output_dir: run, max_steps: 1, per_device_train_batch_size: 5}}
"""


@pytest.fixture
def rows(write):
    lines = [{"prompt": f"{i}?", "completion": "yes", "label": i % 5 > 1} for i in range(20)]  # 12 liked, 8 not
    write("\n".join(map(json.dumps, lines)), "rows.jsonl")
    return write


@pytest.mark.parametrize(
    ("weight", "down", "expected"), [("balanced", 1.0, 8 / 12), ("balanced", 3.0, 2.0), (1.1, 2.0, 1.1)]
)
def test_both_classes_weigh_the_same_in_total(rows, weight, down, expected):
    run = build(load(rows(RECIPE.format(weight=weight, down=down))))
    assert run.objective.desirable_weight == pytest.approx(expected)
    assert run.objective.undesirable_weight == down
    run.train()
    assert load("run/recipe.yaml").objective == run.objective

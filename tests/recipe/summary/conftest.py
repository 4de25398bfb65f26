"""A run that never ran: its facts, from a tiny recipe, and how far it says it came."""

import pytest

from alignkit.recipe import load
from alignkit.recipe.preview import preview
from alignkit.recipe.summary.facts import Facts, Progress

HISTORY = (
    {"loss": 0.7, "rewards/accuracies": 0.5, "step": 1},
    {"eval_loss": 0.6, "step": 2},
    {"loss": 0.4, "rewards/accuracies": 1.0, "num_tokens": 4000.0, "step": 2},
    {"train_runtime": 65.0, "train_loss": 0.55, "step": 2},
)


@pytest.fixture(scope="module")
def facts(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNKIT_CACHE", str(request.config.cache.mkdir("alignkit")))
        recipe = load("dpo/tiny", [f"train.output_dir={tmp_path_factory.mktemp('run')}", "report=none"])
        seen = preview(recipe)
        return Facts.of(recipe, seen.data, seen.report())


@pytest.fixture
def progress():
    return Progress(
        name="out",
        location="runs/out",
        adapter=False,
        images=False,
        steps=2,
        epochs=0.5,
        hardware="1 x cpu (x86_64)",
        history=HISTORY,
    )

"""`python -m tests.trainers.tokenized FOLDER` builds trainers of every family; tokens are cached under FOLDER."""

import os
import sys
from pathlib import Path

import datasets

from alignkit.recipe import load
from alignkit.recipe.build import build

RECIPES = (
    "nll/tiny",
    "dpo/tiny",
    "kto/tiny",
    "bradley_terry/tiny",
    "plackett_luce/tiny",
    "srpo/tiny",
    "grpo/tiny",
)


def added(folder: Path, recipe: str, *overrides: str) -> int:
    """Files of rows that were made, and not found, while a recipe's trainer was built."""
    before = files(folder)
    build(load(recipe, (f"train.output_dir={folder / str(os.getpid())}", *overrides)))
    return len(files(folder) - before)


def files(folder: Path) -> set[Path]:
    return {*folder.rglob("cache-*.arrow")}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    datasets.config.HF_DATASETS_CACHE = place
    for one in RECIPES:
        print(one, added(place, one))
    assert "openai" not in sys.modules, "a run that asks no server waits for its client"

"""Training a recipe through the command line, in this process, and what the run left behind."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors import safe_open
from torch import Tensor

from alignkit.cli import main
from alignkit.objectives import (
    GroupObjective,
    PairObjective,
    RevisionObjective,
    RewardObjective,
    TokenObjective,
    UnpairedObjective,
)
from alignkit.recipe import load
from alignkit.recipe.schema import family_of

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name != "accelerate")
CLOCK = ("_runtime", "_per_second", "step_time")
TRAINERS = {  # as tests/cells names them
    TokenObjective: "SFT",
    PairObjective: "pairs",
    UnpairedObjective: "KTO",
    RevisionObjective: "SRPO",
    RewardObjective: "reward",
    GroupObjective: "RL",
}


@dataclass(frozen=True)
class Run:
    folder: Path
    output: str

    @property
    def history(self) -> list[dict[str, float]]:
        """What was logged, without what a clock says."""
        (last,) = self.folder.glob("checkpoint-*")
        entries = json.loads((last / "trainer_state.json").read_text())["log_history"]
        return [{key: value for key, value in entry.items() if not key.endswith(CLOCK)} for entry in entries]

    @property
    def losses(self) -> list[float]:
        return [entry["loss"] for entry in self.history if "loss" in entry]

    @property
    def weights(self) -> dict[str, Tensor]:
        return weights(self.folder)

    @property
    def provenance(self) -> dict[str, Any]:
        return json.loads((self.folder / "provenance.json").read_text())


def recipe_name(path: Path) -> str:
    """`dpo/tiny`"""
    return path.relative_to(RECIPES).with_suffix("").as_posix()


def alone(path: Path, *marks: Any) -> Any:
    """The recipe as a parameter of a test that trains it in one process."""
    recipe = load(path)
    trainer = TRAINERS[family_of(type(recipe.objective))]
    parameters = "full" if recipe.model.adapter is None else "LoRA"
    where = {"distribution": "one process", "device": "CPU", "shows": "trains"}
    cell = pytest.mark.cell(trainer=trainer, parameters=parameters, **where)
    return pytest.param(path, id=recipe_name(path), marks=[cell, *marks])


def train(recipe: str, folder: Path, *overrides: str) -> Run:
    """Run `alignkit train` and insist that it succeeds."""
    result = CliRunner().invoke(main, ["train", str(recipe), f"train.output_dir={folder}", *overrides])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return Run(folder, result.output)


def weights(folder: Path) -> dict[str, Tensor]:
    """Tensors of a saved model or adapter, by name."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            found |= {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
    assert found, f"no safetensors in {folder}"
    return found

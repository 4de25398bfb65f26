"""The scale of each member of a recipe's reward, from the answers of its evaluation data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.data.sources import open_source
from alignkit.recipe.reward_scores import answers_of, layout_of
from alignkit.recipe.schema import Recipe
from alignkit.rewards import make
from alignkit.rewards.build import load
from alignkit.rewards.ensemble import Calibration, Ensemble
from alignkit.rewards.spec import EnsembleMember, MemberSpec, ModelMember


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A member's scale, and the folder that now holds it; None where the recipe has to."""

    name: str
    calibration: Calibration
    folder: Path | None


def calibrate(recipe: Recipe) -> Iterator[Calibrated]:
    """Score the answers of `data.eval` by each member; what is a local folder gets its calibration saved there.

    Raises:
        ValueError: no reward or no `data.eval` in the recipe, rows without answers, or a member that scores all alike.
    """
    if recipe.reward is None:
        raise ValueError("the recipe has no reward; write reward: {members: [{model: PATH}]}")
    if not recipe.data.eval:
        raise ValueError("the recipe has no evaluation data to calibrate on; write data.eval: [{source: FILE}]")
    prompts, completions, columns = answers(recipe)
    for spec in recipe.reward.members:
        for member in load(spec, recipe.base, False):
            scores = Ensemble(members=[member], combine=make("mean"))(prompts, completions, **columns)
            try:
                found = Calibration.of(scores)
            except ValueError as error:
                raise ValueError(f"member {member.name!r}: {error}") from error
            folder = folder_of(spec, member.name)
            if folder is not None:
                found.save(folder)
            yield Calibrated(name=member.name, calibration=found, folder=folder)


def answers(recipe: Recipe) -> tuple[list[Any], list[Any], dict[str, list[Any]]]:
    """Prompts, answers and columns of every answer in `data.eval`."""
    found: list[tuple[Any, Any, Any]] = []
    for source in recipe.data.eval:
        opened = open_source(source, recipe.base)
        layout = layout_of(opened, source)
        for place, row in opened.rows():
            prompt, texts = answers_of(place, row, layout)
            found += [(prompt, text, row) for text in texts]
    names = dict.fromkeys(name for _, _, row in found for name in row if name not in ("prompt", "completion"))
    columns = {name: [row.get(name) for _, _, row in found] for name in names}
    return [prompt for prompt, _, _ in found], [text for _, text, _ in found], columns


def folder_of(spec: MemberSpec, name: str) -> Path | None:
    """Where the calibration of a member is read from."""
    if isinstance(spec, EnsembleMember):
        return Path(spec.ensemble) / name.removeprefix(f"{spec.label}/")
    return Path(spec.model) if isinstance(spec, ModelMember) and Path(spec.model).is_dir() else None

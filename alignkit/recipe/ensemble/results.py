"""What the members of an ensemble reach on held-out data, alone and together, and how far they disagree."""

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignkit import rewards
from alignkit.models.spec import Precision
from alignkit.plots import plot_disagreement
from alignkit.rewards.ensemble import Calibration, Ensemble, Member
from alignkit.rewards.shared import load_members

RESULTS = "results.json"
PLOT = "disagreement.png"


@dataclass(frozen=True, kw_only=True)
class Results:
    """Accuracy on held-out pairs; a ranking counts as all its pairs. Combined scores are of standardised members."""

    folder: Path
    pairs: int = 0  # without held-out data nothing is measured
    members: dict[str, float]
    combined: dict[str, float]  # by rule, with its default numbers
    disagreement_right: float = 0.0  # standard deviation of the members' margins, mean over pairs the mean gets right
    disagreement_wrong: float = 0.0  # the same over those that it gets wrong


def results_of(folder: Path, held_out: Any, precision: Precision, max_length: int | None) -> Results:
    """Score the held-out rows, save each member's calibration and the results, and draw the disagreement."""
    if held_out is None or not len(held_out):
        return Results(folder=folder, members={}, combined={})
    rows = [(row["prompt"], row.get("answers") or [row["chosen"], row["rejected"]]) for row in held_out]
    prompts = [prompt for prompt, answers in rows for _ in answers]
    completions = [answer for _, answers in rows for answer in answers]
    members = load_members(folder, precision=precision, max_length=max_length)
    found = Ensemble(members=members, combine=rewards.make("mean")).judge(prompts, completions).members
    table = torch.stack([calibrated(folder, member, found[member.name]) for member in members])
    better, worse = pairs_of([len(answers) for _, answers in rows])
    margins = table[:, better] - table[:, worse]
    rules = {name: rewards.make(name)(table) for name in rewards.names()}
    right = margins.mean(dim=0) > 0
    spread = margins.std(dim=0, correction=0)
    results = Results(
        folder=folder,
        pairs=len(better),
        members={member.name: share(one > 0) for member, one in zip(members, margins, strict=True)},
        combined={name: share(scores[better] > scores[worse]) for name, scores in rules.items()},
        disagreement_right=share(spread[right]),
        disagreement_wrong=share(spread[~right]),
    )
    plain = {name: value for name, value in asdict(results).items() if name != "folder"}
    (folder / RESULTS).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    plot_disagreement(margins.mean(dim=0).tolist(), spread.tolist(), folder / PLOT)
    return results


def calibrated(folder: Path, member: Member, scores: Tensor) -> Tensor:
    """A member's scores on the scale of the held-out data, which is saved with the member."""
    calibration = Calibration.of(scores)
    calibration.save(folder / member.name)
    return calibration.applied(scores)


def pairs_of(sizes: list[int]) -> tuple[list[int], list[int]]:
    """Positions of the better and the worse answer of every pair, where each row's answers come best first."""
    better, worse, start = [], [], 0
    for size in sizes:
        for first, second in combinations(range(start, start + size), 2):
            better.append(first)
            worse.append(second)
        start += size
    return better, worse


def share(values: Tensor) -> float:
    """The mean, 0 of nothing."""
    return values.double().mean().item() if len(values) else 0.0

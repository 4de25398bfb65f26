"""Losses of reward models recorded from TRL and from MMPO's code, or derived; in `official/reward_models.json`."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import RewardScores, make

CASES = json.loads((Path(__file__).parent / "official" / "reward_models.json").read_text())["cases"]


def cases(objective: str) -> list:
    """Parameters for pytest: the recorded losses of one objective."""
    found = [pytest.param(case, id=case["id"]) for case in CASES if case["objective"] == objective]
    assert found
    return found


def floats(values: list | float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_recorded(case: dict) -> None:
    """Loss and gradient by the scores are the recorded ones."""
    scores = floats(case["scores"]).requires_grad_()
    columns = {name: floats(values) for name, values in case["columns"].items()}
    loss = make(case["objective"], **case["hyperparameters"]).loss(RewardScores(scores=scores, columns=columns))
    exact = {"rtol": 0, "atol": case["tolerance"]}
    assert_close(loss, floats(case["loss"]), **exact)
    assert_close(torch.autograd.grad(loss, scores)[0], floats(case["gradient"]), **exact)

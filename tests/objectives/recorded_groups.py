"""Losses on groups recorded from TRL, DisCO's and GVPO's code, or derived; in `official/groups.json`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import GroupLogps, make

RECORDED = json.loads((Path(__file__).parent / "official" / "groups.json").read_text())


def cases(objective: str) -> list:
    """Parameters for pytest: the recorded losses of one objective."""
    found = [pytest.param(case, id=case["id"]) for case in RECORDED["cases"] if case["objective"] == objective]
    assert found
    return found


def items(kind: str) -> list:
    """Parameters for pytest: everything of one kind that is no loss."""
    return [pytest.param(item, id=item["id"]) for item in RECORDED[kind]]


def floats(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def inputs(case: dict) -> GroupLogps:
    """The batch of a case, whose log-probabilities and entropies want gradients."""
    tensors = {name: floats(values) for name, values in RECORDED["inputs"][case["inputs"]].items()}
    tensors["rewards"] *= case.get("rewards", 1)
    for name in ("logps", "entropies"):
        if name in tensors:
            tensors[name].requires_grad_()
    return GroupLogps(**{name: value for name, value in tensors.items() if name not in case["without"]})


def assert_recorded(case: dict) -> None:
    """Loss, gradients and metrics are the recorded ones, to the case's tolerance."""
    batch = inputs(case)
    result = make(case["objective"], **case["hyperparameters"])(batch)
    loss = result.terms.sum() / case.get("count", result.count) / case.get("steps", 1)
    exact = {"rtol": 0, "atol": case["tolerance"]}
    if "loss" in case:
        assert_close(loss, floats(case["loss"]), **exact)
    learned = (batch.logps, batch.entropies) if "entropy_gradient" in case else (batch.logps,)
    gradient, *entropy_gradient = torch.autograd.grad(loss, learned)
    assert_close(gradient, floats(case["gradient"]), **exact)
    if entropy_gradient:
        assert_close(entropy_gradient[0], floats(case["entropy_gradient"]), **exact)
    for name, value in case.get("metrics", {}).items():
        assert_close(result.metrics[name].mean(), floats(value), rtol=0, atol=1e-7)  # TRL logs float32

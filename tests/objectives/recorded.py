"""Numbers recorded by running the official codes of KTO, SRPO and PoFT, from `official/offline_methods.json`."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import Batch, make

TABLE = json.loads((Path(__file__).parent / "official" / "offline_methods.json").read_text())


def cases(objective: str) -> list:
    """Parameters for pytest: the recorded losses of one objective."""
    return [pytest.param(case, id=case["id"]) for case in TABLE["cases"] if case["objective"] == objective]


def optima(objective: str) -> list:
    """Parameters for pytest: the recorded optima of one objective."""
    return [pytest.param(case, id=case["id"]) for case in TABLE["tabular"] if case["objective"] == objective]


def floats(values: list | float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def inputs(case: dict) -> dict[str, Tensor]:
    """A case's inputs: whole numbers as such, all else in float64, and those with a gradient ready to take it."""
    whole = ("ids", "labels", "mask", "label")
    given = {
        name: torch.tensor(values) if name.endswith(whole) else floats(values)
        for name, values in TABLE["inputs"][case["inputs"]].items()
    }
    return {name: value.requires_grad_(name in case["gradients"]) for name, value in given.items()}


def token_logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of every token but the first, (B, T-1); whatever it is where the token is -100."""
    return logits[:, :-1].log_softmax(dim=-1).gather(2, tokens[:, 1:, None].clamp(min=0)).squeeze(2)


def assert_recorded(case: dict, given: dict[str, Tensor], batch: Batch) -> None:
    """Loss, terms and gradients are the recorded ones."""
    objective = make(case["objective"], **case["hyperparameters"])
    exact = {"rtol": 0, "atol": case["tolerance"]}
    loss = objective.loss(batch)
    assert_close(loss, floats(case["loss"]), **exact)
    if "terms" in case:
        assert_close(objective(batch).terms, floats(case["terms"]), **exact)
    expected = {name: floats(gradient) for name, gradient in case["gradients"].items()}
    gradients = torch.autograd.grad(loss, [given[name] for name in expected], materialize_grads=True, allow_unused=True)
    assert_close(dict(zip(expected, gradients, strict=True)), expected, **exact)

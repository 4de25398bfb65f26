from math import log

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import TokenLogps, make
from alignkit.objectives.mixce import MixCE
from alignkit.objectives.nll import NLL
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_reduces_to,
    assert_refuses,
    assert_terms,
)
from tests.objectives.samples import TOKENS, numbers

DATA = numbers(0.4, 0.3, 0.2, 0.1)


def optimum(data: Tensor, eta: float) -> Tensor:
    """eta p / (lambda - (1 - eta) p), with lambda found by bisection so that it sums to 1."""
    low, high = (1 - eta) * data.max().item(), 1.0 + eta
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (eta * data / (middle - (1 - eta) * data)).sum() > 1 else (low, middle)
    return eta * data / (high - (1 - eta) * data)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_laws(eta):
    assert_lawful(MixCE(eta=eta), TOKENS)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_gradient_is_that_of_the_mixture_of_log_and_plain_probability(eta):
    def potential(batch: TokenLogps) -> Tensor:
        return torch.where(batch.mask, -eta * batch.logps - (1 - eta) * batch.logps.exp(), 0)

    assert_gradient(MixCE(eta=eta), TOKENS, potential)


def test_terms_of_probabilities_a_half_and_a_quarter():
    batch = TokenLogps(logps=numbers(-log(2), -log(4), -9.0).view(1, 3), mask=torch.tensor([[1, 1, 0]]))
    expected = [[(0.2 + 0.8 / 2) * log(2), (0.2 + 0.8 / 4) * log(4), 0]]
    assert_terms(MixCE(eta=0.2), batch, expected, count=2)


def test_eta_1_is_nll():
    assert_reduces_to(MixCE(eta=1.0), NLL(), TOKENS)


@pytest.mark.parametrize("eta", [0.05, 0.3, 0.9])
def test_optimum_is_sharpened_towards_the_mode(eta):
    expected = optimum(DATA, eta)
    assert_close(expected.sum().item(), 1.0)
    assert_reaches_optimum(MixCE(eta=eta), tabular.tokens(DATA), expected.log())


def test_answers_that_never_occur_die_out():
    data = numbers(0.7, 0.3, 0.0)
    assert_reaches_optimum(MixCE(eta=0.5), tabular.tokens(data), optimum(data, 0.5).log())


def test_optimum_is_no_minimum_of_the_printed_value():
    probability = optimum(DATA, 0.3)
    value = (DATA * MixCE(eta=0.3)(TokenLogps(logps=probability.log()[None], mask=torch.ones(1, 4))).terms).sum()
    sharper = (1.2 * probability.log()).log_softmax(dim=-1)
    flatter = (0.8 * probability.log()).log_softmax(dim=-1)
    beside = [
        (DATA * MixCE(eta=0.3)(TokenLogps(logps=logps[None], mask=torch.ones(1, 4))).terms).sum()
        for logps in (sharper, flatter)
    ]
    assert min(beside) < value


def test_refusals():
    for eta in (-0.1, 1.1, float("nan")):
        assert_refuses(f"eta = {eta} must lie in [0, 1]; 1 is plain NLL", make, "mixce", eta=eta)
    assert_refuses("MixCE has no 'alpha'; choose from eta", make, "mixce", alpha=0.5)

from math import log

from alignkit.objectives import TokenLogps, make
from alignkit.objectives.nll import NLL
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_refuses,
    assert_terms,
    gradients,
)
from tests.objectives.samples import TOKENS, numbers


def test_laws():
    assert_lawful(NLL(), TOKENS)
    assert_gradient(NLL(), TOKENS)


def test_terms_are_those_of_trained_tokens_and_count_them():
    expected = [[0.5, 2.0, 0.125, 0.0], [0.0, 0.25, 3.0, 0.75], [0.0, 0.0, 0.0, 0.0]]
    assert_terms(NLL(), TOKENS, expected, count=6)


def test_masked_tokens_may_hold_anything():
    logps = numbers(-log(2), float("nan"), float("-inf")).view(1, 3)
    batch = TokenLogps(logps=logps, mask=numbers(1, 0, 0).view(1, 3))
    assert_terms(NLL(), batch, [[log(2), 0, 0]], count=1)
    assert gradients(NLL(), batch)[0].tolist() == [[-1, 0, 0]]


def test_optimum_is_the_data():
    data = numbers(0.4, 0.3, 0.2, 0.1)
    assert_reaches_optimum(NLL(), tabular.tokens(data), data.log())


def test_has_no_hyperparameters():
    assert_refuses("NLL has no 'beta'; there are none", make, "nll", beta=0.1)

import pytest
import torch
from torch.testing import assert_close

from alignkit.lab._equilibrium import stationary_point


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_valley_with_a_flat_start():
    target = numbers(3.0, -40.0)
    found = stationary_point(lambda x: torch.tanh((x - target) / 4), numbers(90.0, 60.0))
    assert_close(found, target, rtol=0, atol=1e-12)


def test_a_gradient_of_no_loss():
    """Descent spirals in: x' = -A x with a rotation in A."""
    matrix = torch.stack([numbers(1.0, -5.0), numbers(5.0, 1.0)])
    found = stationary_point(lambda x: (x - 1) @ matrix.T, numbers(4.0, 4.0))
    assert_close(found, numbers(1.0, 1.0), rtol=0, atol=1e-12)


def test_descent_picks_the_valley_and_not_the_hill():
    """x^4 / 4 - x^2 / 2 has a hill at 0 and valleys at -1 and 1."""
    assert_close(stationary_point(lambda x: x**3 - x, numbers(0.01)), numbers(1.0), rtol=0, atol=1e-12)
    assert_close(stationary_point(lambda x: x**3 - x, numbers(-0.01)), numbers(-1.0), rtol=0, atol=1e-12)


def test_gradients_without_a_zero():
    with pytest.raises(ArithmeticError, match="logits grew past 50"):
        stationary_point(lambda x: -1 / (1 + x.square()), numbers(0.0), limit=50)
    with pytest.raises(ArithmeticError, match="fades away"):
        stationary_point(lambda x: -torch.sigmoid(-2 * x), numbers(0.0), limit=1e6)


def test_a_hill_is_no_place_of_rest():
    with pytest.raises(ArithmeticError):
        stationary_point(lambda x: -x, numbers(0.5))

import pytest
import torch
from torch.testing import assert_close

from alignkit.lab import _theory as theory
from tests.objectives import recorded

DATA = torch.tensor([0.4, 0.3, 0.2, 0.1, 0.0], dtype=torch.float64)
ALIGNED = torch.tensor([0.3, 0.02, 0.4, 0.1, 0.05], dtype=torch.float64).log()


def test_bradley_terry_and_flips():
    wins = theory.bradley_terry(torch.tensor([3.0, 0.0, 1.0], dtype=torch.float64).log1p())
    assert_close(wins[0], torch.tensor([1 / 2, 4 / 5, 2 / 3], dtype=torch.float64))
    assert_close(wins + wins.T, torch.ones_like(wins))
    assert_close(theory.flipped(wins, 0.25)[0, 1].item(), 0.75 * 0.8 + 0.25 * 0.2)


@pytest.mark.parametrize("eta", [0.05, 0.5, 0.9])
def test_mixce_meets_its_condition_and_keeps_zeros(eta):
    """Where the gradient vanishes, p (eta / q + 1 - eta) is the same for all that the data hold."""
    policy = theory.mixce(DATA, eta).exp()
    assert_close(policy.sum().item(), 1.0)
    assert policy[-1] == 0
    level = DATA[:-1] * (eta / policy[:-1] + 1 - eta)
    assert_close(level, level.mean().expand(4), rtol=1e-12, atol=0)


def test_mixce_from_data_to_mode():
    assert_close(theory.mixce(DATA, 1).exp(), DATA)
    assert_close(theory.mixce(DATA, 0).exp(), torch.tensor([1, 0, 0, 0, 0], dtype=torch.float64))
    rows = torch.stack([DATA, DATA.flip(0)])
    assert_close(theory.mixce(rows, 0.3)[1], theory.mixce(DATA, 0.3).flip(0))


@pytest.mark.parametrize(("beta", "gamma"), [(1.0, 0.0), (2.0, -0.5), (0.3, 1.0)])
def test_poft_meets_its_fixed_point(beta, gamma):
    data = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1], dtype=torch.float64)
    logps = theory.poft(data, ALIGNED, beta, gamma)
    assert_close(logps.exp().sum().item(), 1.0)
    assert_close((data * torch.sigmoid(-beta * (logps - ALIGNED) - gamma)).log().log_softmax(-1), logps)


def test_poft_and_srpo_are_the_recorded_closed_forms():
    (case,) = (parameters.values[0] for parameters in recorded.optima("poft"))
    data, rho = (recorded.floats(case["setup"][name]) for name in ("p_data", "rho_values"))
    assert_close(theory.poft(data, rho.log(), 1, 0).exp(), recorded.floats(case["closed_form"]))
    for case in (parameters.values[0] for parameters in recorded.optima("srpo")):
        policy, revise, wins = (recorded.floats(case["setup"][name]) for name in ("pi_ref", "pi_ref_dagger", "P"))
        solved = theory.srpo(torch.cat([policy[None], revise]), wins, case["hyperparameters"]["beta"])
        assert_close(solved.exp(), recorded.floats(case["closed_form"]))


def test_ipo_tilts_by_the_probability_to_beat_mu():
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    wins = torch.tensor([[0.5, 0.8], [0.2, 0.5]], dtype=torch.float64)
    solved = theory.ipo(half, torch.tensor([0.75, 0.25], dtype=torch.float64), wins, tau=0.1)
    assert_close((solved[0] - solved[1]).item(), (0.75 * 0.3 + 0.25 * 0.3) / 0.1)


def test_dynamic_q_agrees_with_the_margin_of_its_own_optimum():
    margin = torch.tensor(1.5, dtype=torch.float64)
    q = theory.napo_dynamic_q(margin, alpha=0.5)
    assert_close(q, 2 * torch.sigmoid(-0.5 * margin / (1 - q)).item())


def test_bisect_finds_roots_elementwise():
    squares = torch.tensor([2.0, 9.0], dtype=torch.float64)
    roots = theory.bisect(lambda x: x.square() - squares, torch.zeros_like(squares), 10 + torch.zeros_like(squares))
    assert_close(roots, squares.sqrt(), rtol=1e-15, atol=0)

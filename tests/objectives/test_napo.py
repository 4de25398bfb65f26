from dataclasses import replace
from math import log, sqrt

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import make
from alignkit.objectives.dpo import DPO
from alignkit.objectives.napo import NaPO
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_reduces_to,
    assert_refuses,
    assert_rewards,
    assert_shift_invariant,
    assert_terms,
    gradients,
)
from tests.objectives.samples import IMPLICIT_REWARDS, PAIRS, numbers, pairs_with_margins

REFERENCE = numbers(0.4, 0.3, 0.2, 0.1)
SAMPLER = numbers(0.1, 0.2, 0.3, 0.4)
REWARD = numbers(0.5, -0.25, 1.0, 0.0)
DYNAMIC = NaPO(q="dynamic", alpha=1.0, margin="sum", beta=1.0)


@pytest.mark.parametrize("objective", [NaPO(), DYNAMIC, NaPO(q=1.0), NaPO(q=0.5, beta=1.0), NaPO(q=0.001, beta=2.0)])
def test_laws(objective):
    assert_lawful(objective, PAIRS)


@pytest.mark.parametrize("q", [0.001, 0.5, 1.0])
def test_gradient(q):
    assert_gradient(NaPO(q=q, beta=0.5), PAIRS)


@pytest.mark.parametrize(("margin", "mean"), [("sum", 1.125), ("token", 0.0446875)])
def test_gradient_does_not_reach_the_batch_margin(margin, mean):
    objective = NaPO(alpha=0.5, margin=margin, beta=0.5)
    q = 2 * torch.sigmoid(torch.tensor(-0.5 * mean, dtype=torch.float64)).item()
    assert_gradient(objective, PAIRS, potential=lambda batch: NaPO(q=q, beta=0.5)(batch).terms)
    assert_reduces_to(objective, NaPO(q=q, beta=0.5), PAIRS)


def test_terms_where_sigmoid_is_a_quarter_and_nine_sixteenths():
    batch = pairs_with_margins(-2 * log(3), 2 * log(9 / 7))
    assert_terms(NaPO(q=0.5, beta=0.5), batch, [1, 0.5], count=2)
    assert_terms(NaPO(q=1.0, beta=0.5), batch, [3 / 4, 7 / 16], count=2)


def test_dynamic_terms():
    batch = pairs_with_margins(2 * log(3), 0)  # mean margin log 3: q = 2 * (1 - 3/4); sigmoids 9/10 and 1/2
    assert_terms(DYNAMIC, batch, [2 - 2 * sqrt(0.9), 2 - 2 * sqrt(0.5)], count=2)


def test_given_statistics_replace_the_batch_margin():
    batch = pairs_with_margins(0.0, -2 * log(3))
    given = replace(batch, statistics={"margin": (numbers(8 * log(3)).squeeze(), torch.tensor(8))})
    assert_reduces_to(DYNAMIC, NaPO(q=1.0, beta=1.0), batch)
    assert_reduces_to(DYNAMIC, NaPO(q=0.5, beta=1.0), given)


def test_statistics_are_the_mean_margin():
    sums = {"sum": 4.5, "token": 0.3625 - 0.15625 - 0.125 + 0.0975}
    for margin, total in sums.items():
        ((name, (value, count)),) = NaPO(margin=margin).statistics(PAIRS).items()
        assert (name, count.item()) == ("margin", 4)
        assert_close(value.item(), total)
    assert NaPO(q=0.5).statistics(PAIRS) == {}


def test_q_is_clamped():
    assert_reduces_to(DYNAMIC, NaPO(q=0.001, beta=1.0), pairs_with_margins(900.0, -5.0))
    assert_reduces_to(DYNAMIC, NaPO(q=1.0, beta=1.0), pairs_with_margins(-900.0, -5.0))
    assert_reduces_to(DYNAMIC, NaPO(q=1.0, beta=1.0), pairs_with_margins(0.0, 0.0))


def test_q_to_0_is_dpo_and_q_1_the_probability_of_a_mistake():
    assert_reduces_to(NaPO(q=1e-7, beta=0.3), DPO(beta=0.3), PAIRS, tolerance=1e-6)
    margin = (PAIRS.chosen - PAIRS.ref_chosen) - (PAIRS.rejected - PAIRS.ref_rejected)
    assert_close(NaPO(q=1.0, beta=0.3)(PAIRS).terms, torch.sigmoid(-0.3 * margin))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_is_finite_where_sigmoid_underflows(dtype):
    margin = torch.tensor([-200.0], dtype=dtype, requires_grad=True)
    batch = replace(pairs_with_margins(0.0), chosen=margin, rejected=torch.zeros(1, dtype=dtype))
    batch = replace(batch, ref_chosen=torch.zeros(1, dtype=dtype), ref_rejected=torch.zeros(1, dtype=dtype))
    NaPO(q=0.01, beta=1.0).loss(batch).backward()
    exact = -torch.tensor(-2.0, dtype=torch.float64).exp()  # -beta sigmoid^q (1 - sigmoid), sigmoid = e^-200
    assert_close(margin.grad.double(), exact.view(1), rtol=0.02, atol=0)  # bfloat16 has 3 digits


def test_pairs_that_look_mislabelled_pull_less_than_in_dpo():
    wrong, right = pairs_with_margins(-50.0), pairs_with_margins(2.0)
    robust, plain = NaPO(q=0.7, beta=1.0), DPO(beta=1.0)
    assert gradients(robust, wrong)[0].abs() < 1e-12 < 0.9 < gradients(plain, wrong)[0].abs()
    assert_close(gradients(robust, right)[0], gradients(plain, right)[0] * torch.sigmoid(numbers(2.0)) ** 0.7)


def test_only_log_ratios_matter():
    for objective in (NaPO(q=0.5), DYNAMIC):
        for names in (("chosen", "rejected"), ("chosen", "ref_chosen"), ("rejected", "ref_rejected")):
            assert_shift_invariant(objective, PAIRS, *names)


@pytest.mark.parametrize("q", [0.3, 0.6])
def test_optimum_is_sharpened_by_q(q):
    population = tabular.pairs(REFERENCE, SAMPLER, tabular.bradley_terry(REWARD))
    assert_reaches_optimum(NaPO(q=q, beta=1.0), population, tabular.tilted(REFERENCE, REWARD / (1 - q)))


def test_metrics_are_the_implicit_rewards_of_dpo():
    assert_rewards(NaPO(beta=0.5), PAIRS, *IMPLICIT_REWARDS)


def test_refusals():
    message = "q = {} must lie in (0, 1] or be 'dynamic'; for q = 0 write dpo"
    for q in (0.0, -0.5, 1.5, float("nan")):
        assert_refuses(message.format(q), make, "napo", q=q)
    assert_refuses("alpha = nan must be a finite number", make, "napo", alpha=float("nan"))
    assert_refuses("beta = 0.0 must be a finite number above 0", make, "napo", beta=0)
    assert_refuses("NaPO: margin = 'mean': input should be 'sum' or 'token'", make, "napo", margin="mean")
    assert_refuses(
        "averaging over tokens needs chosen_length and rejected_length", NaPO(margin="token"), pairs_with_margins(1.0)
    )


def test_what_only_a_dynamic_q_reads_is_refused_with_a_fixed_one():
    assert_refuses("alpha and margin set a dynamic q; with q = 0.5 remove them", make, "napo", q=0.5, alpha=0.1)
    assert_refuses("alpha and margin set a dynamic q; with q = 0.5 remove them", make, "napo", q=0.5, margin="sum")
    assert (NaPO().alpha, NaPO().margin) == (0.5, "token")

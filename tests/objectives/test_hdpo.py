from math import exp, log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import PairLogps, make
from alignkit.objectives.dpo import DPO
from alignkit.objectives.hdpo import HDPO
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
)
from tests.objectives.samples import PAIRS, numbers

REFERENCE = numbers(0.4, 0.3, 0.2, 0.1)
SAMPLER = numbers(0.1, 0.2, 0.3, 0.4)
REWARD = numbers(0.5, -0.25, 1.0, 0.0)


@pytest.mark.parametrize("objective", [HDPO(), HDPO(alpha=1.5, beta=1.0)])
def test_laws(objective):
    assert_lawful(objective, PAIRS)
    assert_gradient(objective, PAIRS)


def test_terms():
    # 1 * (0.5 * 2 log 6 - log 2) = log 3, and 1 * (0.5 * 0 - log 3) = -log 3
    batch = PairLogps(
        chosen=numbers(2 * log(6), -4),
        rejected=numbers(0, -4),
        ref_chosen=numbers(log(2), 0),
        ref_rejected=numbers(0, -log(3)),
    )
    assert_terms(HDPO(alpha=0.5, beta=1.0), batch, [log(4 / 3), log(4)], count=2)


def test_implicit_reward_weighs_the_policy_alone():
    chosen = 0.2 * (0.5 * PAIRS.chosen - PAIRS.ref_chosen)
    rejected = 0.2 * (0.5 * PAIRS.rejected - PAIRS.ref_rejected)
    assert_rewards(HDPO(alpha=0.5, beta=0.2), PAIRS, chosen, rejected)


def test_alpha_1_is_dpo():
    assert_reduces_to(HDPO(alpha=1.0, beta=0.3), DPO(beta=0.3), PAIRS)


def test_is_dpo_with_a_weaker_reference():
    weaker = {"ref_chosen": PAIRS.ref_chosen / 0.8, "ref_rejected": PAIRS.ref_rejected / 0.8}
    same = PairLogps(chosen=PAIRS.chosen, rejected=PAIRS.rejected, **weaker)
    assert_close(HDPO(alpha=0.8, beta=0.5)(PAIRS).terms, DPO(beta=0.8 * 0.5)(same).terms)


def test_policy_or_reference_may_be_rescaled_alone():
    assert_shift_invariant(HDPO(), PAIRS, "chosen", "rejected")
    assert_shift_invariant(HDPO(), PAIRS, "ref_chosen", "ref_rejected")


@pytest.mark.parametrize("alpha", [0.8, 1.25])
def test_optimum_sharpens_below_1_and_flattens_above(alpha):
    population = tabular.pairs(REFERENCE, SAMPLER, tabular.bradley_terry(REWARD))
    expected = (REFERENCE.log() / alpha + REWARD / (alpha * 0.5)).log_softmax(dim=-1)
    assert_reaches_optimum(HDPO(alpha=alpha, beta=0.5), population, expected)


def test_without_preferences_the_reference_is_raised_to_1_over_alpha():
    population = tabular.pairs(REFERENCE, SAMPLER, torch.full((4, 4), 0.5, dtype=torch.float64))
    assert_reaches_optimum(HDPO(alpha=0.5, beta=1.0), population, (2 * REFERENCE.log()).log_softmax(dim=-1))


def test_loss_at_the_reference_is_not_log_2():
    at_reference = PairLogps(
        chosen=numbers(-30), rejected=numbers(-10), ref_chosen=numbers(-30), ref_rejected=numbers(-10)
    )
    # (0.9 - 1) * 0.1 * (-30 - -10) = 0.2: the longer answer starts ahead
    assert_terms(HDPO(alpha=0.9, beta=0.1), at_reference, [log(1 + exp(-0.2))], count=1)


def test_refusals():
    assert_refuses("alpha = 0.0 must be positive and finite; 1 is plain DPO", make, "hdpo", alpha=0)
    for alpha in (float("nan"), float("inf"), -1.0):
        assert_refuses(f"alpha = {alpha} must be positive and finite; 1 is plain DPO", make, "hdpo", alpha=alpha)
    assert_refuses("beta = -0.1 must be a finite number above 0", make, "hdpo", beta=-0.1)
    assert_refuses("HDPO has no 'alhpa'; did you mean 'alpha'?", make, "hdpo", alhpa=0.9)

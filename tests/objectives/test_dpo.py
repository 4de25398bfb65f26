from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import PairLogps, make
from alignkit.objectives.dpo import DPO
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
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


@pytest.mark.parametrize("objective", [DPO(), DPO(beta=1.0)])
def test_laws(objective):
    assert_lawful(objective, PAIRS)
    assert_gradient(objective, PAIRS)


def test_terms_where_sigmoid_is_a_half_three_quarters_and_a_quarter():
    batch = pairs_with_margins(0, 2 * log(3), -2 * log(3))
    assert_terms(DPO(beta=0.5), batch, [log(2), log(4 / 3), log(4)], count=3)


def test_gradient_pulls_as_much_as_the_pair_is_wrong():
    chosen, rejected = gradients(DPO(beta=0.5), pairs_with_margins(2 * log(3)))
    assert_close(chosen, numbers(-0.5 / 4))
    assert_close(rejected, -chosen)


def test_metrics_are_implicit_rewards():
    assert_rewards(DPO(beta=0.5), PAIRS, *IMPLICIT_REWARDS)
    assert DPO()(PAIRS).metrics["rewards/accuracies"].tolist() == [1, 0, 0, 1]


def test_only_log_ratios_matter():
    for names in (("chosen", "rejected"), ("chosen", "ref_chosen"), ("rejected", "ref_rejected")):
        assert_shift_invariant(DPO(), PAIRS, *names)


def test_optimum_is_the_reference_tilted_by_the_reward():
    population = tabular.pairs(REFERENCE, SAMPLER, tabular.bradley_terry(REWARD))
    assert_reaches_optimum(DPO(beta=0.3), population, tabular.tilted(REFERENCE, REWARD / 0.3))


def test_one_sided_preferences_have_no_optimum():
    for margin in (10.0, 100.0, 1000.0):
        chosen, _ = gradients(DPO(beta=0.1), pairs_with_margins(margin))
        assert chosen < 0


def test_refusals():
    for beta in (0, -1, float("nan"), float("inf")):
        assert_refuses(f"beta = {float(beta)} must be a finite number above 0", make, "dpo", beta=beta)
    alone = PairLogps(chosen=torch.zeros(2), rejected=torch.zeros(2))
    assert_refuses("this objective compares with a reference: give ref_chosen and ref_rejected", DPO(), alone)

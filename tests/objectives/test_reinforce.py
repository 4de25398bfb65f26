from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import GroupLogps, make
from alignkit.objectives.reinforce import Reinforce
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_refuses,
    assert_shift_invariant,
    assert_terms,
)
from tests.objectives.samples import GROUPS, numbers

PLAIN, PULLED = Reinforce(), Reinforce(beta=0.5)
REFERENCE, REWARD = numbers(0.4, 0.3, 0.2, 0.1), numbers(0.5, -0.25, 1.0, 0.0)


@pytest.mark.parametrize("objective", [PLAIN, PULLED], ids=["plain", "with KL"])
def test_laws(objective):
    assert_lawful(objective, GROUPS)


def test_gradient():
    assert_gradient(PLAIN, GROUPS)
    log_ratios = GROUPS.ref_log_ratios().sum(dim=2)

    def potential(batch):  # the reward is a number
        return PLAIN(replace(batch, rewards=batch.rewards - 0.5 * log_ratios)).terms

    assert_gradient(PULLED, GROUPS, potential)


def test_terms_by_hand():
    """Rewards (1, 0, 0): advantages (1, -1/2, -1/2); answers of log-probability -2, -1, -6."""
    logps = numbers(-1.0, -1.0, -1.0, -99.0, -2.0, -4.0).view(1, 3, 2)
    mask = torch.tensor([[[1, 1], [1, 0], [1, 1]]], dtype=torch.bool)
    batch = GroupLogps(logps=logps, mask=mask, rewards=numbers(1, 0, 0).view(1, 3), ref_logps=0 * logps)
    assert_terms(PLAIN, batch, [-(-2 + 0.5 + 3) / 3], count=1)
    # with beta = 1/2 the rewards become 1 + 1, 0 + 1/2, 0 + 3: advantages 1/4, -2, 7/4
    assert_terms(PULLED, batch, [-(-0.5 + 2 - 10.5) / 3], count=1)
    assert_close(PULLED(batch).metrics["kl"], numbers(-2, -1, -6).view(1, 3))


def test_the_level_of_rewards_is_free():
    assert_shift_invariant(PLAIN, GROUPS, "rewards")
    assert_shift_invariant(PULLED, GROUPS, "rewards")


@pytest.mark.parametrize("size", [2, 3])
def test_optimum_is_the_tilted_reference_whatever_the_group_size(size):
    population = tabular.groups(REFERENCE, REWARD, size)
    assert_reaches_optimum(PULLED, population, tabular.tilted(REFERENCE, REWARD / 0.5), starts=2)


def test_the_expected_gradient_is_that_of_the_expected_reward():
    logits = numbers(0.3, -0.2, 0.0, 0.5)
    gradient = tabular.expected_gradient(PLAIN, tabular.groups(REFERENCE, REWARD, 3), logits)
    policy = logits.softmax(dim=0)
    assert_close(gradient, -policy * (REWARD - (policy * REWARD).sum()))


def test_reference_is_needed_where_beta_is():
    assert not PLAIN.needs_reference
    assert PULLED.needs_reference


def test_refusals():
    assert_refuses("beta = -0.1 must be a finite number, 0 or above", make, "reinforce", beta=-0.1)

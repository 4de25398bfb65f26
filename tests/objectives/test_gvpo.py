from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import GroupLogps, make
from alignkit.objectives.gvpo import GVPO
from alignkit.objectives.reinforce import Reinforce
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_reduces_to,
    assert_refuses,
    assert_shift_invariant,
    assert_terms,
    gradients,
)
from tests.objectives.recorded_groups import assert_recorded, cases, floats, items
from tests.objectives.samples import GROUPS, numbers

OLD, REFERENCE = GVPO(beta=0.5), GVPO(beta=0.5, anchor="reference")
BOTH = pytest.mark.parametrize("objective", [OLD, REFERENCE], ids=["old", "reference"])
SAMPLERS = [numbers(0.25, 0.25, 0.25, 0.25), numbers(0.7, 0.1, 0.1, 0.1), numbers(0.05, 0.15, 0.2, 0.6)]
ANCHOR, REWARD = numbers(0.4, 0.3, 0.2, 0.1), numbers(0.5, -0.25, 1.0, 0.0)


@BOTH
def test_laws(objective):
    assert_lawful(objective, GROUPS)
    assert_gradient(objective, GROUPS)


@pytest.mark.parametrize("case", cases("gvpo"))
def test_losses_and_gradients_are_the_recorded_ones(case):
    assert_recorded(case)


def test_terms_by_hand():
    """rho = (1, 0) and rewards (0, 2): residuals (1/2, -1/2) - (-1, 1), squared and halved, over G - 1 = 1."""
    logps = numbers(-1.0, -1.0, -3.0, -2.0).view(1, 2, 2)
    old = numbers(-2.0, -2.0, -3.0, -2.0).view(1, 2, 2)
    mask, rewards = torch.ones(1, 2, 2, dtype=torch.bool), numbers(0, 2).view(1, 2)
    batch = GroupLogps(logps=logps, old_logps=old, mask=mask, rewards=rewards)
    assert_terms(OLD, batch, [2.25], count=1)
    metrics = OLD(batch).metrics
    assert_close(metrics["residual"], numbers(2.25))
    assert_close(metrics["implicit_reward"], numbers(1.0, 0.0).view(1, 2))
    assert_reduces_to(REFERENCE, OLD, replace(batch, ref_logps=old))


@BOTH
def test_the_level_of_rewards_and_of_a_groups_log_ratios_is_free(objective):
    assert_shift_invariant(objective, GROUPS, "rewards")
    shifted = replace(GROUPS, mask=torch.ones_like(GROUPS.mask))
    assert_shift_invariant(objective, shifted, "old_logps" if objective is OLD else "ref_logps")


def test_on_policy_it_is_reinforce_times_beta():
    on_policy = replace(GROUPS, old_logps=None)
    (gradient,), (plain,) = gradients(OLD, on_policy), gradients(Reinforce(), on_policy)
    assert_close(gradient, 0.5 * plain)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_optimum_does_not_depend_on_the_sampler(sampler, beta):
    population = tabular.groups(ANCHOR, REWARD, size=2, sampler=sampler)
    optimum = tabular.tilted(ANCHOR, REWARD / beta)
    for anchor in ("old", "reference"):
        objective = GVPO(beta=beta, anchor=anchor)
        assert_reaches_optimum(objective, population, optimum, starts=2)
        batch, weights = population(optimum)
        assert (weights * objective(batch).terms).sum() < 1e-25


@pytest.mark.parametrize("item", items("gvpo_optima"))
def test_recorded_optima(item):
    reference, reward = floats(item["reference"]), floats(item["reward"])
    uniform = torch.full_like(reference, 1 / 6)
    population = tabular.groups(reference, reward, size=2, sampler=uniform)
    assert_reaches_optimum(GVPO(beta=item["beta"]), population, floats(item["policy"]).log(), starts=1)


def test_what_needs_a_reference_and_what_does_nothing_at_first():
    assert not OLD.needs_reference
    assert REFERENCE.needs_reference
    assert OLD.inert_on_policy == "GVPO's regularisation towards the old policy"
    assert REFERENCE.inert_on_policy == ""


def test_refusals():
    assert_refuses("beta = 0.0 must be a finite number above 0", make, "gvpo", beta=0)
    assert_refuses("anchor = 'start' must be one of old, reference", GVPO, anchor="start")
    no_reference = replace(GROUPS, ref_logps=None)
    assert_refuses("this objective compares with a reference: give ref_logps", REFERENCE, no_reference)

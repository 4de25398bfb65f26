import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import PairLogps, make
from alignkit.objectives.ipo import IPO
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
CYCLE = numbers(0.5, 0.9, 0.2, 0.1, 0.5, 0.8, 0.8, 0.2, 0.5).view(3, 3)  # no reward explains it


@pytest.mark.parametrize("objective", [IPO(), IPO(tau=0.5, normalize="token")])
def test_laws(objective):
    assert_lawful(objective, PAIRS)
    assert_gradient(objective, PAIRS)


def test_terms_are_squared_distances_to_the_target_margin():
    assert_terms(IPO(tau=0.25), pairs_with_margins(2.0, 0.0, 5.0, -1.0), [0, 4, 9, 9], count=4)


def test_per_token_terms():
    batch = PairLogps(
        chosen=numbers(-3, -1),
        rejected=numbers(-6, -5),
        ref_chosen=numbers(-9, -2),
        ref_rejected=numbers(-4, -1),
        chosen_length=torch.tensor([3, 1]),
        rejected_length=torch.tensor([2, 4]),
    )
    # 6/3 + 2/2 = 3 and 1/1 + 4/4 = 2, target 1 / (2 * 0.5) = 1
    assert_terms(IPO(tau=0.5, normalize="token"), batch, [4, 1], count=2)


def test_sum_and_token_agree_on_answers_of_one_token():
    batch = PairLogps(
        chosen=PAIRS.chosen,
        rejected=PAIRS.rejected,
        ref_chosen=PAIRS.ref_chosen,
        ref_rejected=PAIRS.ref_rejected,
        chosen_length=torch.ones(4),
        rejected_length=torch.ones(4),
    )
    assert_reduces_to(IPO(normalize="token"), IPO(normalize="sum"), batch)


def test_empty_answers_and_the_reference_itself_stay_finite():
    # HALOs divides by the tokens whose log-ratio is not 0, which is 0 / 0 here; so we cannot and do not follow it
    zero = numbers(0, 0)
    length = torch.tensor([0, 7])
    batch = PairLogps(
        chosen=zero, rejected=zero, ref_chosen=zero, ref_rejected=zero, chosen_length=length, rejected_length=length
    )
    objective = IPO(tau=0.25, normalize="token")
    assert_terms(objective, batch, [4, 4], count=2)
    assert_close(gradients(objective, batch)[0], numbers(-2, -2 / 7))


def test_tokens_with_log_ratio_0_count():
    # 4 nats on one of two tokens: HALOs would divide by 1
    batch = PairLogps(
        chosen=numbers(-1),
        rejected=numbers(-3),
        ref_chosen=numbers(-5),
        ref_rejected=numbers(-3),
        chosen_length=torch.tensor([2]),
        rejected_length=torch.tensor([1]),
    )
    assert_terms(IPO(tau=0.5, normalize="token"), batch, [1], count=1)


def test_only_log_ratios_matter():
    assert_shift_invariant(IPO(), PAIRS, "chosen", "rejected")
    for objective in (IPO(), IPO(normalize="token")):
        assert_shift_invariant(objective, PAIRS, "chosen", "ref_chosen")
        assert_shift_invariant(objective, PAIRS, "rejected", "ref_rejected")


@pytest.mark.parametrize("normalize", ["sum", "token"])
@pytest.mark.parametrize("sampler", [numbers(0.2, 0.3, 0.5), numbers(0.6, 0.2, 0.2)])
def test_optimum_for_any_preferences_depends_on_who_draws_the_pairs(sampler, normalize):
    reference = numbers(0.5, 0.3, 0.2)
    expected = tabular.tilted(reference, CYCLE @ sampler / 0.4)
    assert_reaches_optimum(IPO(tau=0.4, normalize=normalize), tabular.pairs(reference, sampler, CYCLE), expected)


def test_one_sided_preferences_do_not_collapse_the_policy():
    better = torch.ones(4, 4).tril(-1).double()  # a later answer always wins
    better += 0.5 * torch.eye(4)
    sampler = numbers(0.25, 0.25, 0.25, 0.25)
    expected = tabular.tilted(REFERENCE, better @ sampler / 0.5)
    assert_reaches_optimum(IPO(tau=0.5), tabular.pairs(REFERENCE, sampler, better), expected)
    assert (expected - REFERENCE.log()).diff().max() < 1 / 0.5


def test_metrics_are_implicit_rewards_of_a_sequence_or_of_its_mean_token():
    chosen, rejected = IMPLICIT_REWARDS
    assert_rewards(IPO(tau=0.5), PAIRS, chosen, rejected)
    per_token = chosen / PAIRS.chosen_length, rejected / PAIRS.rejected_length
    assert_rewards(IPO(tau=0.5, normalize="token"), PAIRS, *per_token)


def test_refusals():
    assert_refuses("tau = 0.0 must be a finite number above 0", make, "ipo", tau=0)
    assert_refuses("IPO: normalize = 'mean': input should be 'sum' or 'token'", make, "ipo", normalize="mean")
    assert_refuses("IPO has no 'beta'; choose from tau, normalize", make, "ipo", beta=0.1)
    assert_refuses(
        "averaging over tokens needs chosen_length and rejected_length", IPO(normalize="token"), pairs_with_margins(1)
    )
    alone = PairLogps(chosen=torch.zeros(2), rejected=torch.zeros(2))
    assert_refuses("this objective compares with a reference: give ref_chosen and ref_rejected", IPO(), alone)


def test_a_direct_construction_checks_its_choices_too():
    assert_refuses("normalize = 'mean' must be one of sum, token", IPO, normalize="mean")

from math import log

import pytest
import torch

from alignkit.objectives import make
from alignkit.objectives.dpo import DPO
from alignkit.objectives.mmpo import MMPO
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
from tests.objectives.samples import IMPLICIT_REWARDS, PAIRS, numbers, pairs_with_margins

REFERENCE = numbers(0.4, 0.3, 0.2, 0.1)
SAMPLER = numbers(0.1, 0.2, 0.3, 0.4)
SCORES = numbers(6.0, 8.0, 3.5, 7.0)


@pytest.mark.parametrize("objective", [MMPO(), MMPO(gamma=2.2, beta=1.0), MMPO(gamma=0.0), MMPO(gamma=None)])
def test_laws(objective):
    assert_lawful(objective, PAIRS)
    assert_gradient(objective, PAIRS)


def test_terms_where_target_and_sigmoid_are_three_quarters():
    batch = pairs_with_margins(
        2 * log(3), 0, -2 * log(3), score_chosen=numbers(1 + log(3), 5, 5), score_rejected=numbers(1, 5, 5 - log(3))
    )
    expected = [-0.75 * log(0.75) - 0.25 * log(0.25), log(2), -0.75 * log(0.25) - 0.25 * log(0.75)]
    assert_terms(MMPO(gamma=1.0, beta=0.5), batch, expected, count=3)


def test_limits():
    assert_reduces_to(MMPO(gamma=None, beta=0.3), DPO(beta=0.3), PAIRS)
    clear = pairs_with_margins(1.5, -2.0, score_chosen=numbers(9, 7), score_rejected=numbers(1, 2))
    assert_reduces_to(MMPO(gamma=1000.0, beta=0.3), DPO(beta=0.3), clear)


def test_only_margins_of_scores_and_log_ratios_matter():
    assert_shift_invariant(MMPO(), PAIRS, "score_chosen", "score_rejected")
    assert_shift_invariant(MMPO(), PAIRS, "chosen", "rejected")
    assert_shift_invariant(MMPO(), PAIRS, "chosen", "ref_chosen")


def test_optimum_is_finite_although_the_better_score_always_wins():
    wins = (SCORES[:, None] > SCORES).double()
    columns = {"score_chosen": (SCORES, "winner"), "score_rejected": (SCORES, "loser")}
    population = tabular.pairs(REFERENCE, SAMPLER, wins, columns)
    assert_reaches_optimum(MMPO(gamma=0.3, beta=0.5), population, tabular.tilted(REFERENCE, 0.3 * SCORES / 0.5))


def test_needs_its_columns_unless_gamma_is_null():
    assert make("mmpo", gamma=0.3).columns == ("score_chosen", "score_rejected")
    assert make("mmpo", gamma=None).columns == ()


def test_integer_scores_keep_float64():
    integers = pairs_with_margins(1.0, score_chosen=torch.tensor([3]), score_rejected=torch.tensor([1]))
    floats = pairs_with_margins(1.0, score_chosen=numbers(3), score_rejected=numbers(1))
    assert torch.equal(MMPO()(integers).terms, MMPO()(floats).terms)


def test_metrics_are_the_implicit_rewards_of_dpo():
    assert_rewards(MMPO(beta=0.5), PAIRS, *IMPLICIT_REWARDS)


def test_refusals():
    for gamma in (-1.0, float("inf"), float("nan")):
        message = f"gamma = {gamma} must be a finite number from 0 up; write null for plain DPO"
        assert_refuses(message, make, "mmpo", gamma=gamma)
    assert_refuses("beta = 0.0 must be a finite number above 0", make, "mmpo", beta=0)
    bare = pairs_with_margins(1.0)
    assert_refuses("column 'score_chosen' is not in the batch; it has no columns", MMPO(), bare)
    half = pairs_with_margins(1.0, score_chosen=numbers(1))
    assert_refuses("column 'score_rejected' is not in the batch; it has ['score_chosen']", MMPO(), half)
    # (B, 1) against (B,) would pair every answer with every score, as the official reward model does
    tall = pairs_with_margins(1.0, 2.0, score_chosen=numbers(1, 2)[:, None], score_rejected=numbers(1, 2))
    assert_refuses("column 'score_chosen' has shape (2, 1); expected (2,)", MMPO(), tall)

from dataclasses import replace
from itertools import permutations
from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import RewardScores, make
from alignkit.objectives.bradley_terry import BradleyTerry
from alignkit.objectives.plackett_luce import PlackettLuce
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
from tests.objectives.recorded_rewards import assert_recorded, cases
from tests.objectives.samples import RANKINGS, REWARDS, numbers

FULL, SPLIT = PlackettLuce(), PlackettLuce(form="pairwise")
BOTH = pytest.mark.parametrize("objective", [FULL, SPLIT], ids=["full", "pairwise"])
TRUTH = numbers(0.5, -1.0, 1.5, 0.0)


@BOTH
@pytest.mark.parametrize("batch", [REWARDS, RANKINGS], ids=["pairs", "ragged"])
def test_laws(objective, batch):
    assert_lawful(objective, batch)
    assert_gradient(objective, batch)


@pytest.mark.parametrize("case", cases("plackett_luce"))
def test_losses_and_gradients_are_the_recorded_ones(case):
    assert_recorded(case)


def test_terms_by_hand():
    batch = RewardScores(
        scores=numbers(log(3), log(2), 0, log(3), 0, 9).view(2, 3),
        mask=torch.tensor([[True, True, True], [True, True, False]]),
    )
    assert_terms(FULL, batch, [-log(3 / 6) - log(2 / 3), -log(3 / 4)], count=2)
    assert_terms(SPLIT, batch, [-log(3 / 5) - log(3 / 4) - log(2 / 3), -log(3 / 4)], count=2)


@BOTH
def test_two_answers_are_bradley_terry(objective):
    assert_reduces_to(objective, BradleyTerry(), REWARDS)


@BOTH
def test_a_ragged_batch_is_its_rankings_one_by_one(objective):
    terms = objective(RANKINGS).terms
    (gradient,) = gradients(objective, RANKINGS)
    for row, (scores, mask) in enumerate(zip(RANKINGS.scores, RANKINGS.mask, strict=True)):
        alone = RewardScores(scores=scores[mask][None])
        assert_close(terms[row], objective(alone).terms[0])
        if mask.sum() >= 2:
            assert_close(3 * gradient[row][mask], gradients(objective, alone)[0][0])
    assert terms[3] == 0
    assert gradient[~RANKINGS.mask].abs().max() == 0
    assert objective(RANKINGS).count == 3


@BOTH
def test_what_lies_where_no_answer_is_never_matters(objective):
    spoilt = replace(RANKINGS, scores=torch.where(RANKINGS.mask, RANKINGS.scores, torch.nan))
    assert_close(objective(spoilt).terms, objective(RANKINGS).terms)
    assert_close(gradients(objective, spoilt), gradients(objective, RANKINGS))


@BOTH
def test_the_level_of_a_prompt_is_free(objective):
    assert_shift_invariant(objective, RANKINGS, "scores")


@BOTH
@pytest.mark.parametrize("size", [2, 3, 4])
def test_optimum_is_the_truth_from_rankings_of_any_size(objective, size):
    assert_reaches_optimum(objective, tabular.rankings(TRUTH, size), TRUTH.log_softmax(dim=0), starts=2)


def test_the_probabilities_of_all_orders_sum_to_1():
    orders = torch.stack([TRUTH[list(order)] for order in permutations(range(4))])
    assert_close(torch.exp(-FULL(RewardScores(scores=orders)).terms).sum(), numbers(1).squeeze())


def test_metrics_are_of_rankings_that_compare_something():
    metrics = FULL(RANKINGS).metrics
    assert_close(metrics["accuracy"], numbers(5 / 6, 1, 2 / 3))
    assert_close(metrics["margin"], numbers(2.5, 1.25, 2))


def test_refusals():
    message = "PlackettLuce: form = 'split': input should be 'full' or 'pairwise'"
    assert_refuses(message, make, "plackett_luce", form="split")
    assert_refuses("form = 'split' must be one of full, pairwise", PlackettLuce, form="split")

from dataclasses import replace
from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import RewardScores, make
from alignkit.objectives.bradley_terry import BradleyTerry
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_reduces_to,
    assert_refuses,
    assert_shift_invariant,
    assert_terms,
)
from tests.objectives.recorded_rewards import assert_recorded, cases
from tests.objectives.samples import RANKINGS, REWARDS, numbers

SAMPLER = numbers(0.1, 0.2, 0.3, 0.4)
TRUTH = numbers(0.5, -1.0, 2.0, 0.0)


@pytest.mark.parametrize(
    "objective", [BradleyTerry(), BradleyTerry(margin=True), BradleyTerry(margin=True, centering=0.01)]
)
def test_laws(objective):
    assert_lawful(objective, REWARDS)
    assert_gradient(objective, REWARDS)


@pytest.mark.parametrize("case", cases("bradley_terry"))
def test_losses_and_gradients_are_trl_s(case):
    assert_recorded(case)


def test_terms_by_hand():
    batch = RewardScores(
        scores=numbers(log(3), 0, 0, log(3), 2, 2).view(3, 2), columns={"margin": numbers(0, 0, log(3))}
    )
    assert_terms(BradleyTerry(), batch, [-log(0.75), -log(0.25), log(2)], count=3)
    assert_terms(BradleyTerry(margin=True), batch, [-log(0.75), -log(0.25), -log(0.25)], count=3)
    centred = [-log(0.75) + 0.5 * log(3) ** 2, -log(0.25) + 0.5 * log(3) ** 2, log(2) + 8]
    assert_terms(BradleyTerry(centering=0.5), batch, centred, count=3)


def test_margins_of_0_change_nothing():
    without = replace(REWARDS, columns={"margin": torch.zeros(4, dtype=torch.float64)})
    assert_reduces_to(BradleyTerry(margin=True), BradleyTerry(), without)


def test_the_level_of_a_prompt_is_free_unless_rewards_are_centred():
    assert_shift_invariant(BradleyTerry(margin=True), REWARDS, "scores")
    with pytest.raises(AssertionError):
        assert_shift_invariant(BradleyTerry(centering=0.1), REWARDS, "scores")


def test_optimum_has_the_log_odds_of_the_preferences():
    population = tabular.rewarded_pairs(SAMPLER, tabular.bradley_terry(TRUTH))
    assert_reaches_optimum(BradleyTerry(), population, TRUTH.log_softmax(dim=0))


def test_metrics_are_those_of_trl():
    metrics = BradleyTerry()(REWARDS).metrics
    assert_close(metrics["accuracy"], numbers(1, 0, 0, 1))  # equal rewards are not in order
    assert_close(metrics["margin"], numbers(1.25, -1.25, 0, 1.75))


def test_refusals():
    for number in (-0.1, float("inf"), float("nan")):
        message = f"centering = {number} must be a finite number from 0 up; 0 switches it off"
        assert_refuses(message, make, "bradley_terry", centering=number)
    message = "column 'margin' is not in the batch; it has no columns"
    assert_refuses(message, BradleyTerry(margin=True), replace(REWARDS, columns={}))
    assert_refuses("this objective learns from pairs, not from 4 ranked answers", BradleyTerry(), RANKINGS)
    assert make("bradley_terry").columns == ()

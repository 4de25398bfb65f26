from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import RewardScores, make
from alignkit.objectives.bradley_terry import BradleyTerry
from alignkit.objectives.mmpo_reward import MMPOReward
from tests.objectives import tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_reduces_to,
    assert_refuses,
    assert_shift_invariant,
    assert_terms,
    rows,
)
from tests.objectives.recorded_rewards import assert_recorded, cases
from tests.objectives.samples import RANKINGS, REWARDS, numbers

SAMPLER = numbers(0.1, 0.2, 0.3, 0.4)
SCORES = numbers(6.0, 8.0, 3.5, 7.0)


@pytest.mark.parametrize("objective", [MMPOReward(), MMPOReward(gamma=2.2), MMPOReward(gamma=0.0)])
def test_laws(objective):
    assert_lawful(objective, REWARDS)
    assert_gradient(objective, REWARDS)


@pytest.mark.parametrize("case", cases("mmpo_reward"))
def test_one_pair_alone_has_the_official_loss(case):
    assert_recorded(case)


def test_terms_where_target_and_sigmoid_are_three_quarters():
    batch = RewardScores(
        scores=numbers(log(3), 0, 1, 1, 0, log(3)).view(3, 2),
        columns={"score_chosen": numbers(1 + log(3), 5, 5), "score_rejected": numbers(1, 5, 5 - log(3))},
    )
    expected = [-0.75 * log(0.75) - 0.25 * log(0.25), log(2), -0.75 * log(0.25) - 0.25 * log(0.75)]
    assert_terms(MMPOReward(), batch, expected, count=3)


def test_every_pair_of_a_batch_has_its_own_label():
    """The official code gives all of them the batch's mean label."""
    whole = MMPOReward()(REWARDS).terms
    alone = torch.cat([MMPOReward()(rows(REWARDS, i, i + 1)).terms for i in range(4)])
    assert_close(whole, alone, rtol=0, atol=0)
    target = torch.sigmoid((REWARDS.columns["score_chosen"] - REWARDS.columns["score_rejected"]).double()).mean()
    margin = REWARDS.scores[:, 0] - REWARDS.scores[:, 1]
    broadcast = torch.nn.functional.binary_cross_entropy_with_logits(margin, target.expand(4))
    assert (whole.mean() - broadcast).abs() > 0.1


def test_clear_scores_are_hard_labels():
    clear = RewardScores(
        scores=REWARDS.scores, columns={"score_chosen": numbers(9, 7, 8, 9), "score_rejected": numbers(1, 2, 1, 3)}
    )
    assert_reduces_to(MMPOReward(gamma=1000.0), BradleyTerry(), clear)


def test_only_differences_matter():
    assert_shift_invariant(MMPOReward(), REWARDS, "scores")
    assert_shift_invariant(MMPOReward(), REWARDS, "score_chosen", "score_rejected")


def test_optimum_is_the_scaled_score_although_the_better_score_always_wins():
    wins = (SCORES[:, None] > SCORES).double()
    columns = {"score_chosen": (SCORES, "winner"), "score_rejected": (SCORES, "loser")}
    population = tabular.rewarded_pairs(SAMPLER, wins, columns)
    assert_reaches_optimum(MMPOReward(gamma=0.3), population, (0.3 * SCORES).log_softmax(dim=0))


def test_refusals():
    for gamma in (-1.0, float("inf"), float("nan")):
        message = f"gamma = {gamma} must be a finite number from 0 up; for hard labels: bradley_terry"
        assert_refuses(message, make, "mmpo_reward", gamma=gamma)
    assert_refuses("this objective learns from pairs, not from 4 ranked answers", MMPOReward(), RANKINGS)
    assert_refuses(
        "column 'score_chosen' is not in the batch; it has no columns",
        MMPOReward(),
        RewardScores(scores=REWARDS.scores),
    )
    tall = RewardScores(
        scores=REWARDS.scores, columns={"score_chosen": numbers(1, 2, 3, 4)[:, None], "score_rejected": SCORES}
    )
    assert_refuses("column 'score_chosen' has shape (4, 1); expected (4,)", MMPOReward(), tall)

from dataclasses import FrozenInstanceError

import pytest
import torch

from alignkit.objectives import GroupLogps, PairLogps, RewardScores, TokenLogps
from tests.objectives.properties import assert_refuses
from tests.objectives.samples import GROUPS, PAIRS, numbers

TWO, THREE = torch.zeros(2), torch.zeros(3)


def test_pairs_are_vectors_of_one_length():
    assert_refuses("PairLogps.rejected has shape (3,); expected (2,)", PairLogps, chosen=TWO, rejected=THREE)
    assert_refuses(
        "PairLogps.ref_chosen has shape (3,); expected (2,)", PairLogps, chosen=TWO, rejected=TWO, ref_chosen=THREE
    )
    assert_refuses(
        "PairLogps.chosen_length has shape (); expected (2,)",
        PairLogps,
        chosen=TWO,
        rejected=TWO,
        chosen_length=torch.tensor(4),
    )
    assert_refuses(
        "PairLogps.chosen has shape (2, 1); expected (B,)", PairLogps, chosen=TWO[:, None], rejected=TWO[:, None]
    )


def test_tokens_are_matrices_of_one_shape():
    assert_refuses("TokenLogps.logps has shape (2,); expected (B, T)", TokenLogps, logps=TWO, mask=TWO)
    assert_refuses(
        "TokenLogps.mask has shape (2, 2); expected (2, 3)",
        TokenLogps,
        logps=torch.zeros(2, 3),
        mask=torch.ones(2, 2),
    )


def test_rankings_are_matrices_of_one_shape():
    assert_refuses("RewardScores.scores has shape (2,); expected (P, K)", RewardScores, scores=TWO)
    three = torch.zeros(2, 3)
    mask = torch.ones(2, 2, dtype=bool)
    assert_refuses("RewardScores.mask has shape (2, 2); expected (2, 3)", RewardScores, scores=three, mask=mask)
    batch = RewardScores(scores=three)
    assert_refuses("this objective learns from pairs, not from 3 ranked answers", batch.pairs)
    assert batch.ranked()[1].all()


def test_groups_are_an_axis():
    logps, rewards = torch.zeros(2, 3, 4), torch.zeros(2, 3)
    assert_refuses("GroupLogps.logps has shape (2,); expected (P, G, T)", GroupLogps, logps=TWO, mask=TWO, rewards=TWO)
    assert_refuses(
        "GroupLogps.rewards has shape (6,); expected (2, 3)",
        GroupLogps,
        logps=logps,
        mask=logps,
        rewards=torch.zeros(6),
    )
    refused = "GroupLogps.sampler_ratios has shape (2, 3, 2); expected (2, 3, 4)"
    given = {"logps": logps, "mask": logps, "rewards": rewards}
    assert_refuses(refused, GroupLogps, **given, sampler_ratios=torch.zeros(2, 3, 2))
    assert GroupLogps(**given, sampler_ratios=torch.zeros(2, 3, 1)).rewards is rewards


def test_what_is_outside_an_answer_is_0_and_empty_answers_have_mean_0():
    assert GROUPS.log_ratios()[~GROUPS.mask].abs().max() == 0
    assert_refuses(
        "this objective compares with a reference: give ref_logps",
        GroupLogps(logps=GROUPS.logps, mask=GROUPS.mask, rewards=GROUPS.rewards).ref_log_ratios,
    )
    mask = torch.tensor([[[True, False], [False, False]]])
    batch = GroupLogps(logps=numbers(-3, 5, 7, 9).view(1, 2, 2), mask=mask, rewards=torch.zeros(1, 2))
    assert batch.token_means(batch.logps).tolist() == [[-3, 0]]
    assert batch.log_ratios().abs().max() == 0  # no old log-probabilities: the policy is still the old one


def test_batches_are_frozen_and_keyword_only():
    with pytest.raises(FrozenInstanceError):
        PAIRS.chosen = TWO
    with pytest.raises(TypeError):
        PairLogps(TWO, TWO)


def test_what_is_absent_is_asked_for():
    bare = PairLogps(chosen=TWO, rejected=TWO, ref_chosen=TWO, chosen_length=TWO)
    references = "this objective compares with a reference: give ref_chosen and ref_rejected"
    assert_refuses(references, bare.references)
    assert_refuses(references, bare.log_ratios)
    assert_refuses("averaging over tokens needs chosen_length and rejected_length", bare.lengths)
    assert_refuses("column 'score' is not in the batch; it has no columns", bare.column, "score", TWO)
    listed = "column 'score' is not in the batch; it has ['flip', 'score_chosen', 'score_rejected']"
    assert_refuses(listed, PAIRS.column, "score", PAIRS.chosen)


def test_columns_have_one_value_per_row_in_the_dtype_of_the_log_probabilities():
    batch = TokenLogps(
        logps=torch.zeros(2, 3), mask=torch.ones(2, 3), columns={"score": torch.tensor([1, 2]), "tall": TWO[:, None]}
    )
    assert batch.column("score", like=numbers(0, 0)).dtype == torch.float64
    assert batch.column("score", like=batch.logps).tolist() == [1, 2]
    assert_refuses("column 'tall' has shape (2, 1); expected (2,)", batch.column, "tall", batch.logps)


def test_lengths_can_be_divided_by():
    empty = PairLogps(
        chosen=TWO, rejected=TWO, chosen_length=torch.tensor([0, 3]), rejected_length=torch.tensor([2, 0])
    )
    assert [length.tolist() for length in empty.lengths()] == [[1, 3], [2, 1]]

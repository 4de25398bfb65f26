from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.lab import _tabular as tabular
from alignkit.lab import _theory as theory
from alignkit.objectives import make


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


REF = numbers(0.5, 0.3, 0.2)
MU = numbers(0.2, 0.2, 0.6)
WINS = theory.bradley_terry(numbers(1.0, 0.0, -1.0))
PAIRS = tabular.Pairs(ref=REF, mu=MU, preference=WINS, scores=numbers(1.0, 0.0, -1.0))
LOGPS = numbers(0.1, 0.6, 0.3).log()
SOME = torch.stack([LOGPS, LOGPS.flip(0), REF.log()])


def test_a_loss_is_the_expectation_over_pairs_of_different_answers():
    total = weight = 0
    for i in range(3):
        for j in {0, 1, 2} - {i}:
            drawn = MU[i] * MU[j] * WINS[i, j]
            margin = 0.5 * (LOGPS[i] - REF[i].log() - LOGPS[j] + REF[j].log())
            total, weight = total - drawn * torch.nn.functional.logsigmoid(margin), weight + drawn
    (loss,) = PAIRS.losses(make("dpo", beta=0.5), LOGPS[None])
    assert_close(loss, total / weight)
    assert_close(PAIRS.weights().sum().item(), 1.0)


@pytest.mark.parametrize("name", ["dpo", "ipo", "mmpo", "napo"])
def test_several_policies_at_once_are_each_alone(name):
    objective = make(name)
    alone = torch.cat([PAIRS.losses(objective, policy[None]) for policy in SOME])
    assert_close(PAIRS.losses(objective, SOME), alone)


def test_statistics_are_expectations_under_the_probabilities_of_rows():
    policy = numbers(0.6, 0.3, 0.1).log()[None]
    batch = PAIRS.batch(policy)
    margins = (batch.chosen - batch.ref_chosen) - (batch.rejected - batch.ref_rejected)
    q = 2 * torch.sigmoid(-0.3 * (PAIRS.weights() * margins).sum()).item()
    assert 0.001 < q < 1
    dynamic, fixed = make("napo", q="dynamic", alpha=0.3, beta=1), make("napo", q=q, beta=1)
    assert_close(PAIRS.losses(dynamic, policy), PAIRS.losses(fixed, policy))


def test_scores_stay_with_their_answers_or_follow_the_label():
    winners, losers = PAIRS.batch(LOGPS[None]).columns.values()
    assert_close(winners, numbers(1, 1, 0, 0, -1, -1))
    assert_close(losers, numbers(0, -1, 1, -1, 1, 0))
    swapping = tabular.Pairs(ref=REF, mu=MU, preference=WINS, scores=PAIRS.scores, scores_swap=True)
    winners, losers = swapping.batch(LOGPS[None]).columns.values()
    assert_close(winners, numbers(1, 1, 1, 0, 1, 0))
    assert_close(losers, numbers(0, -1, 0, -1, -1, -1))


def test_revisions_read_the_row_of_the_draft():
    table = numbers(*range(12)).view(1, 4, 3)
    batch = tabular.Revisions(ref=REF.expand(4, 3), mu=MU, preference=WINS).batch(table)
    first = {name: getattr(batch, name)[0].item() for name in vars(batch) if name.startswith(("chosen", "rejected"))}
    assert first == {  # answer 0 wins against answer 1
        "chosen": 0,
        "rejected": 1,
        "chosen_given_rejected": 6,
        "rejected_given_rejected": 7,
        "chosen_given_chosen": 3,
        "rejected_given_chosen": 4,
    }


def test_thumbs_expect_both_labels_and_the_kl_of_another_prompt():
    population = tabular.Thumbs(ref=REF, mu=MU, share=numbers(1.0, 0.5, 0.0))
    assert_close(population.weights(), numbers(0.2, 0.1, 0, 0, 0.1, 0.6))
    batch = population.batch(LOGPS[None])
    assert_close(batch.kl, (MU * (LOGPS - REF.log())).sum())
    assert batch.desirable.tolist() == [True] * 3 + [False] * 3


def test_an_optimum_is_a_zero_of_the_gradient_and_no_minimum_of_a_value_with_a_detached_part():
    texts = tabular.Texts(data=numbers(0.5, 0.3, 0.2), aligned_logps=numbers(0, 0, 0))
    objective = make("mixce", eta=0.3)
    solved = tabular.optimum(texts, objective)
    assert_close(solved, theory.mixce(texts.data, 0.3), rtol=0, atol=1e-12)
    step = torch.autograd.functional.jacobian(lambda x: texts.losses(objective, x.log_softmax(-1)[None])[0], solved)
    assert step.abs().max() < 1e-12
    sharper, flatter = (scale * solved for scale in (1.01, 0.99))
    value, above, below = texts.losses(objective, torch.stack([solved, sharper, flatter]).log_softmax(-1))
    assert above < value < below


def test_descent_starts_at_uniform_and_approaches_the_optimum():
    objective = make("ipo", tau=0.5)
    path = tabular.descend(PAIRS, objective, steps=300)
    assert path.shape == (301, 3)
    assert_close(path[0], numbers(*[-log(3)] * 3))
    assert_close(path[-1], tabular.optimum(PAIRS, objective), rtol=0, atol=1e-3)


def test_random_policies_are_policies():
    logps = tabular.random_policy(PAIRS, torch.Generator().manual_seed(0), scale=3)
    assert_close(logps.exp().sum().item(), 1.0)
    assert logps.dtype == torch.float64


def test_total_variation():
    assert_close(tabular.total_variation(LOGPS, numbers(0.3, 0.3, 0.4).log()).item(), 0.3)
    assert tabular.total_variation(SOME, SOME).tolist() == [0, 0, 0]

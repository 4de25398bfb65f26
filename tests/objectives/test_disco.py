from dataclasses import replace
from itertools import product
from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import GroupLogps, make
from alignkit.objectives.disco import DisCO
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reduces_to,
    assert_refuses,
    assert_terms,
    gradients,
    with_learned,
)
from tests.objectives.recorded_groups import assert_recorded, cases
from tests.objectives.samples import GROUPS, numbers

CHOICES = [
    DisCO(score=score, contrast=contrast, kl=kl, tau=0.5, beta=2.0, delta=0.01, penalty=penalty)
    for score, contrast, (kl, penalty) in product(
        ("logl", "lratio"), ("basic", "dro"), [("k1", "official"), ("k3", "paper")]
    )
]
EVERY = pytest.mark.parametrize("objective", CHOICES, ids=lambda one: f"{one.score}-{one.contrast}-{one.kl}")
DRIFTED = replace(GROUPS, old_logps=GROUPS.logps + 0.25 + 0.1 * GROUPS.logps.sin())  # KL well above delta


@EVERY
def test_laws(objective):
    assert_lawful(objective, GROUPS)
    assert_lawful(objective, DRIFTED)


@pytest.mark.parametrize("case", cases("disco"))
def test_losses_and_gradients_are_the_recorded_ones(case):
    assert_recorded(case)


@EVERY
def test_the_loss_is_a_potential_of_its_gradient(objective):
    """Terms are not: the hinge is a number of the whole batch, so that every prompt's KL pulls on all of them."""
    values = DRIFTED.logps.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda logps: objective.loss(with_learned(DRIFTED, (logps,))), values)


@EVERY
def test_gradient_of_terms_with_the_level_known(objective):
    statistics = objective.statistics(DRIFTED)
    known = replace(DRIFTED, statistics=statistics)
    inactive = replace(objective, delta=100.0)
    assert_gradient(inactive, DRIFTED)
    level = (statistics["kl"][0] / statistics["kl"][1] - objective.delta).clamp(min=0)
    assert level > 0.01
    weight = 2 * objective.beta * level * (1 if objective.penalty == "paper" else 0.5)

    def potential(batch):
        share = objective._divergence(batch).sum(dim=(1, 2)) * len(batch.logps) / batch.mask.sum()
        return inactive(batch).terms + weight * share

    assert_gradient(objective, known, potential)


def test_terms_by_hand():
    """One right answer of mean log-probability -1, wrong ones of -2 and -4; the other prompt has none right."""
    logps = numbers(-0.5, -1.5, -2.0, 99.0, -4.0, -4.0, *[-1.0] * 6).view(2, 3, 2)
    mask = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1], [1, 1], [1, 0]], dtype=torch.bool).view(2, 3, 2)
    batch = GroupLogps(logps=logps, mask=mask, rewards=numbers(1, 0, 0, 0, 0, 0).view(2, 3))
    assert_terms(DisCO(contrast="basic"), batch, [-(-1 + 3), 0], count=2)
    worst = 2 * log((torch.tensor(-1.0).exp() + torch.tensor(-2.0).exp()).item() / 2)
    assert_close(DisCO(tau=2.0)(batch).terms, numbers(-(-1 - worst), 0), rtol=0, atol=1e-6)
    # the old policy was 0.2 nats surer of each of the 10 tokens: KL 0.2, hinge 0.1
    drifted = replace(batch, old_logps=logps + 0.2)
    paper = DisCO(contrast="basic", beta=50.0, delta=0.1, penalty="paper")
    assert_terms(paper, drifted, [-2 + 0.5, 0.5], count=2)
    assert_terms(replace(paper, penalty="official"), drifted, [-2 + 0.25, 0.25], count=2)
    metrics = paper(drifted).metrics
    assert_close(metrics["kl"], numbers(0.2).squeeze())
    assert_close(metrics["kl_excess"], numbers(0.1).squeeze())
    assert_close(metrics["contrast"], numbers(2, 0))


def test_given_statistics_replace_the_batch_level():
    objective = DisCO(beta=1.0, delta=0.0)
    six = torch.tensor(6)
    given = {"kl": (numbers(3.0).squeeze(), six), "tokens_per_prompt": (six, torch.tensor(2))}
    on_policy = replace(GROUPS, old_logps=None)
    plain = replace(objective, delta=9.0)(on_policy).terms
    assert_close(objective(replace(on_policy, statistics=given)).terms, plain + 0.125)


def test_statistics_are_the_mean_divergence():
    ((total, tokens), (all_tokens, prompts)) = DisCO().statistics(DRIFTED).values()
    assert_close(total, DRIFTED.trained(DRIFTED.old_logps - DRIFTED.logps).sum())
    assert tokens == all_tokens == DRIFTED.mask.sum()
    assert prompts == 4


def test_weights_of_right_and_wrong_answers_do_not_depend_on_how_many_there_are():
    for right in (1, 2, 3):
        rewards = numbers(*[1] * right, *[0] * (4 - right)).view(1, 4)
        logps = numbers(-1, -2, -3, -4).view(1, 4, 1)
        batch = GroupLogps(logps=logps, mask=torch.ones_like(logps, dtype=torch.bool), rewards=rewards)
        (gradient,) = gradients(DisCO(contrast="basic"), batch)
        expected = numbers(*[-1 / right] * right, *[1 / (4 - right)] * (4 - right))
        assert_close(gradient.flatten(), expected)


def test_a_large_tau_is_basic_and_a_small_one_the_hardest_answer():
    assert_reduces_to(DisCO(tau=1e6), DisCO(contrast="basic"), GROUPS, tolerance=1e-5)
    scores = GROUPS.token_means(GROUPS.logps)
    hardest = scores[0, 0] - scores[0, 1:].max()  # prompt 0: the first answer is right
    assert_close(DisCO(tau=1e-4)(replace(GROUPS, old_logps=None)).terms[0], -hardest, rtol=0, atol=1e-3)


@EVERY
def test_kl_below_delta_has_no_gradient(objective):
    on_policy = replace(GROUPS, old_logps=None)
    assert_close(gradients(objective, on_policy), gradients(replace(objective, beta=1e9), on_policy), rtol=0, atol=0)
    assert objective.inert_on_policy == "DisCO's KL constraint"
    assert not objective.needs_reference


@EVERY
def test_prompts_all_right_or_all_wrong_add_nothing_and_are_counted(objective):
    on_policy = replace(GROUPS, old_logps=None)
    result = objective(on_policy)
    assert result.count == 4
    assert result.terms[2:].abs().max() == 0
    assert gradients(objective, on_policy)[0][2:].abs().max() == 0


def test_refusals():
    half = replace(GROUPS, rewards=GROUPS.rewards / 2)
    assert_refuses("DisCO tells right from wrong answers: rewards must be 0 or 1; got [0.5]", DisCO(), half)
    assert_refuses("delta = -1.0 must be a finite number, 0 or above", make, "disco", delta=-1)
    assert_refuses("tau = 0.0 must be a finite number above 0", make, "disco", tau=0)
    assert_refuses("score = 'logp' must be one of logl, lratio", DisCO, score="logp")

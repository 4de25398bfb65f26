from dataclasses import replace
from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import UnpairedLogps, make
from alignkit.objectives.kto import KTO
from tests.objectives import recorded
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_refuses,
    assert_shift_invariant,
    assert_terms,
    gradients,
)
from tests.objectives.samples import UNPAIRED, numbers

UNEQUAL = KTO(beta=0.5, desirable_weight=2.0, undesirable_weight=0.25)


def thumbs(*ratios: float, up: list[bool], kl: float) -> UnpairedLogps:
    """Answers with the given log pi/ref."""
    base = numbers(*[-8.0] * len(ratios))
    kl = torch.tensor(kl, dtype=base.dtype)
    return UnpairedLogps(policy=base + numbers(*ratios), ref=base, desirable=torch.tensor(up), kl=kl)


@pytest.mark.parametrize("objective", [KTO(), UNEQUAL])
def test_laws(objective):
    assert_lawful(objective, UNPAIRED)


def test_gradient():
    assert_gradient(UNEQUAL, UNPAIRED)
    assert_gradient(KTO(beta=0.1), thumbs(1.0, -2.0, up=[True, False], kl=-3.0))


def test_terms_where_the_odds_are_3_to_1():
    batch = thumbs(1 + 2 * log(3), 1 + 2 * log(3), 1.0, up=[True, False, False], kl=1.0)
    assert_terms(KTO(beta=0.5), batch, [1 / 4, 3 / 4, 1 / 2], count=3)
    assert_terms(UNEQUAL, batch, [2 / 4, 3 / 16, 1 / 8], count=3)


def test_a_negative_kl_counts_as_0():
    batch = thumbs(1.0, -2.0, up=[True, False], kl=-3.0)
    assert_close(KTO()(batch).terms, KTO()(replace(batch, kl=torch.zeros_like(batch.kl))).terms)
    assert KTO()(batch).metrics["kl"] == -3


def test_no_gradient_reaches_the_kl():
    batch = replace(UNPAIRED, kl=UNPAIRED.kl.clone().requires_grad_(), policy=UNPAIRED.policy.clone().requires_grad_())
    (gradient,) = torch.autograd.grad(KTO().loss(batch), batch.kl, allow_unused=True, materialize_grads=True)
    assert gradient == 0


def test_at_the_reference_the_loss_is_half_the_mean_weight():
    batch = thumbs(0.0, 0.0, 0.0, 0.0, up=[True, True, True, False], kl=0.0)
    assert_close(UNEQUAL.loss(batch).item(), (3 * 2 + 0.25) / 4 / 2)


def test_only_log_ratios_matter():
    assert_shift_invariant(UNEQUAL, UNPAIRED, "policy", "ref")


def test_rewards_are_logged_by_class():
    metrics = KTO(beta=0.5)(thumbs(1.0, -2.0, 3.0, up=[True, False, True], kl=0.0)).metrics
    assert_close(metrics["rewards/chosen"], numbers(0.5, 1.5))
    assert_close(metrics["rewards/rejected"], numbers(-1.0))


def test_one_class_alone_is_learned_from():
    for up in (True, False):
        (gradient,) = gradients(KTO(), thumbs(0.5, -0.5, up=[up, up], kl=0.25))
        assert (gradient < 0).all() == up


@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.0, 3.0), (4.0, 1.0)])
def test_an_answer_rises_where_thumbs_up_outweigh(desirable, undesirable):
    """There is no optimum: the gradient has one sign at every policy."""
    objective = KTO(beta=0.5, desirable_weight=desirable, undesirable_weight=undesirable)
    balance = undesirable / (desirable + undesirable)
    share = numbers(0.1, 0.19, 0.21, 0.45, 0.55, 0.74, 0.76, 0.9)
    for ratio in (-6.0, 0.0, 5.0):
        up, down = (thumbs(*[ratio] * 8, up=[side] * 8, kl=1.0) for side in (True, False))
        (rise,), (fall,) = gradients(objective, up), gradients(objective, down)
        slope = share * rise + (1 - share) * fall
        assert ((slope < 0) == (share > balance)).all()


def test_the_gradient_fades_far_from_the_kl():
    (near, far) = gradients(KTO(beta=0.1), thumbs(0.0, 500.0, up=[True, True], kl=0.0))[0].abs()
    assert far < 1e-18 < 0.01 < near


@pytest.mark.parametrize("case", recorded.cases("kto"))
def test_losses_and_gradients_are_the_official_ones(case):
    given = recorded.inputs(case)
    mask, kl_mask = given["completion_mask"][:, 1:], given["KL_completion_mask"][:, 1:]

    def summed(name: str, tokens: str, mask: torch.Tensor) -> torch.Tensor:
        return (recorded.token_logps(given[f"{name}_logits"], given[tokens]) * mask).sum(dim=1)

    mismatched = summed("policy_KL", "KL_input_ids", kl_mask) - summed("ref_KL", "KL_input_ids", kl_mask)
    if "halos" in case["id"]:  # HALOs leaves out answers whose log-ratio is 0
        mismatched = mismatched[mismatched != 0]
    assert_close(mismatched.mean().item(), case["kl"], rtol=0, atol=max(case["tolerance"], 1e-9))
    batch = UnpairedLogps(
        policy=summed("policy", "input_ids", mask),
        ref=summed("ref", "input_ids", mask),
        desirable=given["label"].bool(),
        kl=mismatched.mean(),
    )
    recorded.assert_recorded(case, given, batch)


def test_seven_cases_are_recorded():
    assert len(recorded.cases("kto")) == 7


def test_refusals():
    text = "{} = {} must be a finite number above 0"
    assert_refuses(text.format("beta", 0.0), make, "kto", beta=0)
    assert_refuses(text.format("desirable_weight", -1.0), make, "kto", desirable_weight=-1)
    assert_refuses(text.format("undesirable_weight", "inf"), make, "kto", undesirable_weight=float("inf"))
    with pytest.raises(ValueError, match="desirable_weight = 'equal'"):
        make("kto", desirable_weight="equal")


def test_balance_is_resolved_before_training():
    objective = make("kto", desirable_weight="balanced")
    with pytest.raises(ValueError, match="'balanced' is resolved by a recipe"):
        objective(UNPAIRED)


def test_shapes_are_checked():
    shapes = "UnpairedLogps wants policy, ref and desirable of one shape (B,); got [(4,), (4,), (3,)]"
    fields = {name: getattr(UNPAIRED, name) for name in ("policy", "ref", "desirable", "kl")}
    assert_refuses(shapes, UnpairedLogps, **{**fields, "desirable": UNPAIRED.desirable[:3]})
    assert_refuses(
        "UnpairedLogps.kl has shape (4,); expected a scalar", UnpairedLogps, **{**fields, "kl": fields["ref"]}
    )

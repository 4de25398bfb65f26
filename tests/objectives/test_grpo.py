from dataclasses import replace
from itertools import product
from math import comb, sqrt

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import GroupLogps, make
from alignkit.objectives.grpo import GRPO
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
    rows,
)
from tests.objectives.recorded_groups import assert_recorded, cases, floats, items
from tests.objectives.samples import GROUPS, numbers

FULL = replace(GROUPS, entropies=-0.3 * GROUPS.logps, sampler_ratios=0.5 - 0.1 * GROUPS.logps)
CHOICES = [
    GRPO(reduction=reduction, ratio=ratio, surrogate=surrogate, epsilon_high=0.5, beta=0.1, kl=kl)
    for (reduction, ratio), (surrogate, kl) in product(
        [("dapo", "token"), ("grpo", "sequence"), ("bnpo", "sequence"), ("dr_grpo", "token")],
        [("clip", "corrected"), ("cispo", "k3")],
    )
]
EVERY = pytest.mark.parametrize("objective", CHOICES, ids=lambda one: f"{one.reduction}-{one.ratio}-{one.surrogate}")


@EVERY
def test_laws(objective):
    assert_lawful(objective, replace(objective_batch(objective), entropies=None))


@pytest.mark.parametrize("scaling", ["group", "batch", "none"])
def test_laws_of_scaling(scaling):
    assert_lawful(GRPO(scaling=scaling), GROUPS)


def objective_batch(objective):
    """A batch whose ratios are far from every kink."""
    return replace(FULL, old_logps=GROUPS.logps + 0.05 + 0.02 * GROUPS.logps.sin())


@EVERY
def test_gradient(objective):
    batch = objective_batch(objective)
    if objective.surrogate == "clip":
        assert_gradient(objective, batch)
        return
    weights = objective(batch)  # detached ratios: compare with plain REINFORCE of the same weights
    detached = replace(objective, beta=0.0)
    (gradient,) = gradients(detached, replace(batch, sampler_ratios=None))
    ratios = batch.log_ratios().exp()
    if objective.ratio == "sequence":
        ratios = batch.token_means(batch.log_ratios()).exp()[..., None]
    advantages = objective._advantages(batch)[..., None]
    losses = batch.trained(-ratios.clamp(max=0.5) * advantages)
    if objective.reduction == "grpo":
        losses = losses / batch.mask.sum(dim=2).clamp(min=1)[..., None]
    assert_close(gradient, losses / weights.count)


@pytest.mark.parametrize("case", cases("grpo"))
def test_losses_gradients_and_metrics_are_the_recorded_ones(case):
    assert_recorded(case)


@pytest.mark.parametrize("item", items("advantages"))
def test_advantages_are_the_recorded_ones(item):
    """One token, on policy: the gradient of a token's log-probability is minus its advantage, over all tokens."""
    rewards = floats([[float("nan") if reward is None else reward for reward in group] for group in item["rewards"]])
    logps = -torch.ones_like(rewards)[..., None]
    batch = GroupLogps(logps=logps, mask=torch.ones_like(logps, dtype=torch.bool), rewards=rewards)
    (gradient,) = gradients(GRPO(scaling=item["scaling"]), batch)
    assert_close(-gradient[..., 0] * rewards.numel(), floats(item["advantages"]), rtol=0, atol=1e-7)


def test_terms_by_hand():
    """Rewards (1, 0): advantages (1/2, -1/2). Ratios 2, 1 and 1/2 of tokens, clipped to 1.2, 1 and 1/2 -> 0.8."""
    half = torch.tensor(0.5, dtype=torch.float64).log().item()
    old = numbers(-1.0, -1.0, -1.0, 7.0).view(1, 2, 2)
    logps = old + numbers(-half, 0.0, half, 0.0).view(1, 2, 2)
    mask = torch.tensor([[[1, 1], [1, 0]]], dtype=torch.bool)
    batch = GroupLogps(logps=logps, old_logps=old, mask=mask, rewards=numbers(1, 0).view(1, 2))
    plain = GRPO(scaling="none")
    token_losses = -0.6, -0.5, 0.4
    assert_terms(plain, batch, [sum(token_losses)], count=3)
    assert_terms(replace(plain, reduction="bnpo"), batch, [sum(token_losses)], count=3)
    assert_terms(replace(plain, reduction="grpo"), batch, [(-0.6 - 0.5) / 2 + 0.4], count=2)
    assert_terms(replace(plain, reduction="dr_grpo"), batch, [sum(token_losses)], count=4)
    assert_terms(replace(plain, reduction="dr_grpo", max_completion_length=10), batch, [sum(token_losses)], count=20)
    # the answer's ratio is sqrt 2, clipped to 1.2 for both of its tokens
    assert_terms(replace(plain, ratio="sequence"), batch, [-0.6 - 0.6 + 0.4], count=3)
    metrics = plain(batch).metrics
    assert metrics["clip_ratio/high_mean"].tolist() == [1, 0, 0]
    assert metrics["clip_ratio/low_mean"].tolist() == [0, 0, 1]
    assert replace(plain, ratio="sequence")(batch).metrics["clip_ratio/region_mean"].tolist() == [1, 1]


def test_group_and_batch_deviations():
    groups = replace(GROUPS, old_logps=None)
    one, many = rows(groups, 0, 1), GRPO(scaling="batch")
    assert_reduces_to(many, GRPO(scaling="group"), one)
    total, count = many.statistics(groups)["rewards"]
    assert (total.item(), count.item()) == (6, 12)
    scale = sqrt(3 / 11) + 1e-4
    assert_close(many(groups).terms * scale, GRPO(scaling="none")(groups).terms)


def test_all_equal_groups_give_0_and_are_counted():
    groups = replace(GROUPS, old_logps=None)
    for objective in (GRPO(), GRPO(reduction="grpo"), GRPO(scaling="batch")):
        (gradient,) = gradients(objective, groups)
        assert gradient[2:].abs().max() == 0
        assert gradient[:2].abs().max() > 0
    assert GRPO()(groups).count == GROUPS.mask.sum()


def test_on_policy_it_is_reinforce_shrunk_by_the_group():
    """Its baseline holds the answer's own reward."""
    logps = GROUPS.logps[:, :, :1]
    batch = GroupLogps(logps=logps, mask=torch.ones_like(logps, dtype=torch.bool), rewards=GROUPS.rewards)
    plain = GRPO(scaling="none", reduction="grpo")
    assert_close(gradients(plain, batch)[0], 2 / 3 * gradients(Reinforce(), batch)[0])


@pytest.mark.parametrize("item", items("fixed_points"))
def test_fixed_points(item):
    reference, reward, beta = floats(item["reference"]), floats(item["reward"]), item["beta"]
    population = tabular.groups(reference, reward, item["answers"])
    plain = GRPO(scaling="none", reduction="dr_grpo", beta=beta)
    shrunk = (item["answers"] - 1) / item["answers"] * reward / beta
    corrected = tabular.tilted(reference, shrunk)
    assert_close(corrected.exp(), floats(item["corrected"]))
    assert_reaches_optimum(plain, population, corrected, starts=2)
    assert_reaches_optimum(replace(plain, kl="k3"), population, floats(item["k3"]).log(), starts=2)
    for objective, policy, recorded in [
        (replace(plain, scaling="group"), corrected, "gradient_with_group_scaling"),
        (plain, tabular.tilted(reference, reward / beta), "gradient_at_naive_tilt"),
    ]:
        slope = tabular.expected_gradient(objective, population, policy) / item["answers"]
        assert_close(slope.abs().max(), floats(item[recorded]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("success", [0.02, 0.5, 0.9])
def test_weight_of_a_prompt_by_enumeration(success):
    """Answers right or wrong: the gradient by the log-odds is minus the weight, up to what the policy contributes."""
    size = 4
    population = tabular.groups(numbers(0.5, 0.5), numbers(1, 0), size)
    logits = numbers(success, 1 - success).log()
    shares = [(comb(size, k) * success**k * (1 - success) ** (size - k), k / size) for k in range(size + 1)]
    expected = {
        "group": sqrt((size - 1) / size) * sum(chance * sqrt(share * (1 - share)) for chance, share in shares),
        "none": (1 - 1 / size) * success * (1 - success),
    }
    for scaling, weight in expected.items():
        slope = tabular.expected_gradient(GRPO(scaling=scaling), population, logits) / size
        assert_close(slope[0].item(), -weight, rtol=1e-3 if scaling == "group" else 1e-10, atol=0)  # the 1e-4 in TRL's


def test_two_sided_clipping_bounds_bad_answers_too():
    batch = replace(GROUPS, old_logps=GROUPS.logps - 3.0)
    one, two = GRPO(scaling="none"), GRPO(scaling="none", delta=1.5)
    assert one(batch).terms[0] > 10 > two(batch).terms[0]


def test_entropy_bonus_and_quantile():
    plain, bonus = GRPO(), GRPO(entropy_coef=0.1)
    mean = FULL.entropies[FULL.mask].mean()
    assert_close(bonus.loss(FULL), plain.loss(FULL) - 0.1 * mean)
    quarter = GRPO(top_entropy_quantile=0.25)
    (gradient,) = gradients(quarter, FULL)
    (all_tokens,) = gradients(plain, FULL)
    kept = FULL.mask & (FULL.entropies >= FULL.entropies[FULL.mask].float().quantile(0.75))
    assert_close(gradient, torch.where(kept, all_tokens, 0))
    assert_lawful(plain, FULL)


def test_the_level_of_rewards_is_free_and_so_is_their_scale_by_group():
    assert_shift_invariant(GRPO(), GROUPS, "rewards")
    larger = replace(GROUPS, rewards=1e4 * GROUPS.rewards)
    assert_close(GRPO()(larger).terms, GRPO()(GROUPS).terms, rtol=1e-3, atol=0)


def test_what_a_trainer_asks():
    assert not GRPO().needs_reference
    assert GRPO(beta=0.1).needs_reference
    assert [GRPO(reduction=name).counts_micro_batch for name in ("dapo", "grpo", "bnpo", "dr_grpo")] == [0, 0, 1, 0]
    assert GRPO().inert_on_policy == ""


@pytest.mark.parametrize("name", ["sapo", "vespo", "luspo"])
def test_what_is_left_out_says_so(name):
    instead = "choose a reduction, surrogate, ratio and scaling, or write an objective of your own"
    message = f"GRPO: {name} is not here; {instead}"
    assert_refuses(message, make, "grpo", reduction=name)
    assert_refuses(message, make, "grpo", surrogate=name)
    assert_refuses(message.replace(name, "off_policy_mask_threshold"), make, "grpo", off_policy_mask_threshold=0.5)


def test_refusals():
    assert_refuses("epsilon = 0.0 must be a finite number above 0", make, "grpo", epsilon=0)
    assert_refuses("delta = -1.0 must be a finite number above 0", make, "grpo", delta=-1)
    assert_refuses("beta = -1.0 must be a finite number, 0 or above", make, "grpo", beta=-1)
    assert_refuses("top_entropy_quantile = 0.0 must lie in (0, 1]; 1 is all tokens", GRPO, top_entropy_quantile=0.0)
    assert_refuses("scaling = 'std' must be one of group, batch, none", GRPO, scaling="std")
    bonus = "an entropy bonus or quantile needs the policy's entropies: give entropies"
    assert_refuses(bonus, GRPO(entropy_coef=0.1), GROUPS)

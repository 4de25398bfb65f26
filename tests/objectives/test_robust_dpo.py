from dataclasses import replace
from math import log

import pytest
import torch
from torch.testing import assert_close

from alignkit.objectives import PairLogps, make
from alignkit.objectives.dpo import DPO
from alignkit.objectives.robust_dpo import RobustDPO
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

FORMS = pytest.mark.parametrize("form", ["conservative", "unbiased"])
REFERENCE = numbers(0.4, 0.3, 0.2, 0.1)
SAMPLER = numbers(0.1, 0.2, 0.3, 0.4)
REWARD = numbers(0.5, -0.25, 1.0, 0.0)


def flipped(batch: PairLogps) -> PairLogps:
    return replace(
        batch,
        chosen=batch.rejected,
        rejected=batch.chosen,
        ref_chosen=batch.ref_rejected,
        ref_rejected=batch.ref_chosen,
    )


@FORMS
@pytest.mark.parametrize("flip_rate", [0.2, "flip"])
def test_laws(form, flip_rate):
    objective = RobustDPO(form=form, flip_rate=flip_rate, beta=0.5)
    assert_lawful(objective, PAIRS)
    assert_gradient(objective, PAIRS)


def test_terms_where_sigmoid_is_three_quarters():
    batch = pairs_with_margins(2 * log(3), 0)
    conservative = [-0.75 * log(0.75) - 0.25 * log(0.25), log(2)]
    assert_terms(RobustDPO(flip_rate=0.25, beta=0.5), batch, conservative, count=2)
    unbiased = [2 * (-0.75 * log(0.75) + 0.25 * log(0.25)), log(2)]
    assert_terms(RobustDPO(flip_rate=0.25, beta=0.5, form="unbiased"), batch, unbiased, count=2)


@FORMS
def test_a_column_holds_one_rate_per_pair(form):
    rates = (0.0, 0.1, 0.25, 0.4)  # as in the sample
    expected = [RobustDPO(form=form, flip_rate=rate)(PAIRS).terms[row].item() for row, rate in enumerate(rates)]
    by_column = RobustDPO(form=form, flip_rate="flip")
    assert by_column.columns == ("flip",)
    assert_terms(by_column, PAIRS, expected, count=4)
    assert RobustDPO(form=form, flip_rate=0.1).columns == ()


@FORMS
def test_clean_labels_are_dpo(form):
    assert_reduces_to(RobustDPO(form=form, flip_rate=0.0, beta=0.3), DPO(beta=0.3), PAIRS)


def test_unbiased_averages_to_dpo_over_flipped_labels():
    objective = RobustDPO(form="unbiased", flip_rate=0.2, beta=0.3)
    mean = 0.8 * objective(PAIRS).terms + 0.2 * objective(flipped(PAIRS)).terms
    assert_close(mean, DPO(beta=0.3)(PAIRS).terms, rtol=1e-12, atol=1e-12)


def test_unbiased_optimum_on_noisy_labels_is_that_of_dpo_on_clean_ones():
    clean = tabular.bradley_terry(REWARD)
    noisy = tabular.pairs(REFERENCE, SAMPLER, 0.8 * clean + 0.2 * clean.T)
    objective = RobustDPO(form="unbiased", flip_rate=0.2, beta=0.5)
    assert_reaches_optimum(objective, noisy, tabular.tilted(REFERENCE, REWARD / 0.5))


@pytest.mark.parametrize("wins", [0.9, 1.0])
def test_conservative_margin_stays_finite_even_for_one_sided_pairs(wins):
    preference = numbers(0.5, wins, 1 - wins, 0.5).view(2, 2)
    reference = numbers(0.6, 0.4)
    believed = torch.tensor(0.8 * wins + 0.2 * (1 - wins), dtype=torch.float64)
    expected = tabular.tilted(reference, torch.stack((believed.logit() / 0.5, torch.zeros_like(believed))))
    population = tabular.pairs(reference, numbers(0.5, 0.5), preference)
    assert_reaches_optimum(RobustDPO(flip_rate=0.2, beta=0.5), population, expected)


def test_unbiased_loss_of_one_label_is_unbounded_below():
    objective = RobustDPO(form="unbiased", flip_rate=0.2, beta=1.0)
    terms = objective(pairs_with_margins(10.0, 100.0, 1000.0)).terms
    assert_close(terms, -0.2 / 0.6 * numbers(10.0, 100.0, 1000.0), rtol=1e-4, atol=0)
    assert gradients(objective, pairs_with_margins(1000.0))[0] < 0


@FORMS
def test_only_log_ratios_matter(form):
    for names in (("chosen", "rejected"), ("chosen", "ref_chosen"), ("rejected", "ref_rejected")):
        assert_shift_invariant(RobustDPO(form=form), PAIRS, *names)


@FORMS
def test_metrics_are_the_implicit_rewards_of_dpo(form):
    assert_rewards(RobustDPO(form=form, beta=0.5), PAIRS, *IMPLICIT_REWARDS)


def test_refusals():
    for rate in (0.5, -0.1, float("nan")):
        message = f"flip_rate = {rate} must be a number in [0, 0.5), or name a data column"
        assert_refuses(message, make, "robust_dpo", flip_rate=rate)
    for text in ("0.1", ""):  # not the name of a column
        message = f"flip_rate = {text!r} must be a number in [0, 0.5), or name a data column"
        assert_refuses(message, make, "robust_dpo", flip_rate=text)
    assert_refuses(
        "RobustDPO: form = 'rdpo': input should be 'conservative' or 'unbiased'", make, "robust_dpo", form="rdpo"
    )
    noise = RobustDPO(flip_rate="noise")
    assert_refuses("column 'noise' is not in the batch; it has no columns", noise, pairs_with_margins(1.0))
    assert_refuses(
        "column 'noise' must hold probabilities in [0, 0.5); it has [0.0, 0.5]",
        noise,
        pairs_with_margins(1.0, 2.0, noise=numbers(0, 0.5)),
    )

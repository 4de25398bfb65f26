from dataclasses import replace
from math import log, nan

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import TokenLogps, make
from alignkit.objectives.nll import NLL
from alignkit.objectives.poft import PoFT
from tests.objectives import recorded, tabular
from tests.objectives.properties import (
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_refuses,
    assert_terms,
    gradients,
)
from tests.objectives.samples import TOKENS, numbers

DATA = numbers(0.3, 0.25, 0.2, 0.15, 0.1)
ALIGNED = numbers(0.3, 0.02, 0.4, 0.1, 0.05).log()


def texts(*logps: list[float], aligned: list[float]) -> TokenLogps:
    """Texts of equal length, every token trained."""
    table = torch.stack([numbers(*row) for row in logps])
    columns = {"aligned_logps": numbers(*aligned)}
    return TokenLogps(logps=table, mask=torch.ones_like(table, dtype=bool), columns=columns)


def population(data: Tensor, aligned: Tensor) -> tabular.Population:
    """Texts of one token."""

    def everything(policy: Tensor) -> tuple[TokenLogps, Tensor]:
        mask = torch.ones_like(policy[:, None], dtype=bool)
        return TokenLogps(logps=policy[:, None], mask=mask, columns={"aligned_logps": aligned}), data

    return everything


def optimum(data: Tensor, aligned: Tensor) -> Tensor:
    """(-rho + sqrt(rho^2 + 4 p rho / lambda)) / 2 with lambda by bisection, for beta = 1 and gamma = 0."""
    rho, low, high = aligned.exp(), 1e-12, 1e12
    for _ in range(300):
        middle = (low * high) ** 0.5
        policy = (-rho + (rho.square() + 4 * data * rho / middle).sqrt()) / 2
        low, high = (middle, high) if policy.sum() > 1 else (low, middle)
    return policy


@pytest.mark.parametrize("objective", [PoFT(), PoFT(beta=3.0, gamma=-0.5)])
def test_laws(objective):
    assert_lawful(objective, TOKENS)


def test_gradient():
    assert_gradient(PoFT(beta=2.0, gamma=0.25), TOKENS)


def test_terms_where_the_odds_are_3_to_1():
    batch = texts([-log(2), -log(8)], [-log(2), -log(8)], aligned=[-log(12), -log(4) + log(3)])
    assert_terms(PoFT(), batch, [log(4 / 3), log(4)], count=2)  # the mean log-probability is -log 4
    assert_terms(PoFT(beta=2.0), batch, [log(10 / 9), log(10)], count=2)
    assert_terms(PoFT(gamma=log(3)), batch, [log(10 / 9), log(2)], count=2)


def test_padding_and_prompt_are_left_out_and_texts_count_whatever_their_length():
    batch = texts([-9.0, -log(2), -log(8), -5.0], [-9.0, -log(4), -5.0, -5.0], aligned=[-log(4), -log(4)])
    batch = replace(batch, mask=torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]], dtype=bool))
    assert_terms(PoFT(), batch, [log(2), log(2)], count=2)


def test_gradient_is_that_of_sft_weighted_by_how_much_better_aligned_models_like_a_text():
    batch = texts([-1.0, -3.0], [-1.0, -3.0], aligned=[-0.5, -6.0])
    weight = torch.sigmoid(-2 * (numbers(-2.0, -2.0) - numbers(-0.5, -6.0)) - 0.5)
    (slope,), (sft,) = gradients(PoFT(beta=2.0, gamma=0.5), batch), gradients(NLL(), batch)
    assert_close(slope, 2 * weight[:, None] * sft)
    assert slope[0].abs().min() > 1000 * slope[1].abs().max()


def test_texts_that_aligned_models_like_far_better_are_learned_as_in_sft():
    batch = texts([-1.0, -3.0], [-2.0, -0.5], aligned=[50.0, 50.0])
    assert_close(gradients(PoFT(), batch), gradients(NLL(), batch))


def test_terms_stay_finite_where_the_sigmoid_underflows():
    assert_close(PoFT()(texts([-900.0], [-1.0], aligned=[-1.0, -900.0])).terms, numbers(899.0, 0.0))


def test_the_gap_is_logged():
    assert_close(PoFT()(texts([-1.0, -3.0], aligned=[-0.5])).metrics["aligned_gap"], numbers(-1.5))


def test_optimum():
    assert_reaches_optimum(PoFT(), population(DATA, ALIGNED), optimum(DATA, ALIGNED).log())


def test_optimum_between_the_data_and_the_root_of_data_times_aligned_probability():
    """Large rho gives p; small rho gives sqrt(p rho), normalised."""
    assert_reaches_optimum(PoFT(), population(DATA, ALIGNED + 20), DATA.log(), starts=1)
    root = (DATA * ALIGNED.exp()).sqrt()
    assert_reaches_optimum(PoFT(), population(DATA, ALIGNED - 16), (root / root.sum()).log(), starts=1, tolerance=1e-5)


@pytest.mark.parametrize("case", recorded.optima("poft"))
def test_tables_train_to_the_recorded_optimum(case):
    data, rho = recorded.floats(case["setup"]["p_data"]), recorded.floats(case["setup"]["rho_values"])
    closed_form = recorded.floats(case["closed_form"])
    assert_close(optimum(data, rho.log()), closed_form)
    assert_close(closed_form, recorded.floats(case["optimised"]), rtol=0, atol=2e-8)
    assert_reaches_optimum(make("poft", **case["hyperparameters"]), population(data, rho.log()), closed_form.log())


@pytest.mark.parametrize("case", recorded.cases("poft"))
def test_losses_and_gradients_are_the_official_ones(case):
    given = recorded.inputs(case)
    logps, mask = recorded.token_logps(given["logits"], given["labels"]), given["labels"][:, 1:] != -100
    batch = TokenLogps(logps=logps, mask=mask, columns={"aligned_logps": given["mean_log_llm_probs"]})
    recorded.assert_recorded(case, given, batch)
    gap = recorded.floats(case["mean_token_logp"]) - given["mean_log_llm_probs"]
    assert_close(PoFT()(batch).metrics["aligned_gap"], gap)


def test_an_aligned_model_scores_a_text_by_the_same_mean():
    """The official scores are negative log-likelihoods per token: what `aligned_gap` is without a score to compare."""
    (case,) = (parameters.values[0] for parameters in recorded.cases("poft_score"))
    given = recorded.inputs(case)
    logps, mask = recorded.token_logps(given["logits"], given["labels"]), given["labels"][:, 1:] != -100
    batch = TokenLogps(logps=logps, mask=mask, columns={"aligned_logps": torch.zeros(len(logps))})
    assert_close(PoFT()(batch).metrics["aligned_gap"], -recorded.floats(case["terms"]))


def test_every_recorded_case_runs():
    assert (len(recorded.cases("poft")), len(recorded.optima("poft"))) == (2, 1)


def test_refusals():
    assert_refuses("beta = 0.0 must be a finite number above 0", make, "poft", beta=0)
    assert_refuses("gamma = nan must be a finite number", make, "poft", gamma=nan)
    missing = "column 'aligned_logps' is not in the batch; it has no columns"
    assert_refuses(missing, PoFT(), replace(TOKENS, columns={}))

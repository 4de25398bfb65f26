"""Our losses and gradients beside those of the official codes, recorded by running them on the inputs in `official/`.

Reproduced although our formula is another one: TRL's `sigmoid` with label_smoothing 0.3, which TRL ignores, is plain
DPO; HALOs averages IPO's log-ratio over tokens where it is not 0, which in the recorded inputs are all of them (where
some are 0 it differs from us, and it gives NaN at the reference: see test_ipo.py); MixCE's `baseline` flag is NLL.

Recorded beside these and left out, because none of our objectives has that formula: TRL's `hinge` and `sigmoid_norm`,
an IPO with soft labels, MMPO's reward-model loss, MixCE's metrics.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import Batch, PairLogps, TokenLogps, make
from tests.objectives import tabular
from tests.objectives.properties import assert_reaches_optimum

Inputs = dict[str, Tensor]


def read(name: str) -> dict:
    return json.loads((Path(__file__).parent / "official" / f"{name}.json").read_text())


def floats(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def token_logps(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of every token but the first, (B, T-1); whatever it is where the label is -100."""
    return logits[:, :-1].log_softmax(dim=-1).gather(2, labels[:, 1:, None].clamp(min=0)).squeeze(2)


def pair_logits(given: Inputs) -> Batch:
    trained = {side: given[f"{side}_labels"][:, 1:] != -100 for side in ("chosen", "rejected")}
    sums = {
        f"{prefix}{side}": (token_logps(given[f"{prefix}{side}"], given[f"{side}_labels"]) * trained[side]).sum(dim=1)
        for prefix in ("", "ref_")
        for side in trained
    }
    return PairLogps(**sums, chosen_length=trained["chosen"].sum(1), rejected_length=trained["rejected"].sum(1))


def pair_token_logps(given: Inputs) -> Batch:
    return PairLogps(**{name: value.sum(dim=1) if value.ndim == 2 else value for name, value in given.items()})


def pair_logps(given: Inputs) -> Batch:
    columns = {name: value for name, value in given.items() if name.startswith("score_")}
    return PairLogps(**{name: value for name, value in given.items() if name not in columns}, columns=columns)


def text_logits(given: Inputs) -> Batch:
    return TokenLogps(logps=token_logps(given["logits"], given["tokens"]), mask=given["mask"].bool())


READERS = {
    "pair_logits": pair_logits,
    "pair_token_logps": pair_token_logps,
    "pair_logps": pair_logps,
    "text_logits": text_logits,
    "text_logits_bigram": text_logits,
}
CASES = [pytest.param(name, case, id=case["id"]) for name in READERS for case in read(name)["cases"]]
TABULAR = [pytest.param(case, id=case["id"]) for case in read("tabular")["cases"]]


def test_every_recorded_case_runs():
    assert len(CASES) == 43
    assert len(TABULAR) == 10
    recorded = {case["objective"] for case in (parameters.values[-1] for parameters in CASES + TABULAR)}
    assert recorded == {"dpo", "hdpo", "ipo", "mixce", "mmpo", "napo", "nll", "robust_dpo"}


@pytest.mark.parametrize(("name", "case"), CASES)
def test_losses_and_gradients_are_the_official_ones(name: str, case: dict):
    integers = ("labels", "tokens", "mask", "length")
    given = {
        key: torch.tensor(value) if key.endswith(integers) else floats(value)
        for key, value in read(name)["inputs"].items()
    }
    learned = [given[key].requires_grad_() for key in case["gradients"]]
    objective, batch = make(case["objective"], **case["hyperparameters"]), READERS[name](given)
    result = objective(batch)
    loss = result.terms.sum() / case["divisor"] if "divisor" in case else objective.loss(batch)
    exact = {"rtol": 0, "atol": case["tolerance"]}
    assert_close(loss, floats(case["loss"]), **exact)
    if "terms" in case:
        assert_close(result.terms, floats(case["terms"]), **exact)
    expected = [floats(gradient) for gradient in case["gradients"].values()]
    assert_close(list(torch.autograd.grad(loss, learned)), expected, **exact)


def population(setup: dict) -> tabular.Population:
    if "p_data" in setup:
        return tabular.tokens(floats(setup["p_data"]))
    reference, sampler = floats(setup["pi_ref"]), floats(setup["mu"])
    if "scores" in setup:  # targets come from the scores, so any labels will do
        scores = floats(setup["scores"])
        columns = {"score_chosen": (scores, "winner"), "score_rejected": (scores, "loser")}
        return tabular.pairs(reference, sampler, torch.ones(len(scores), len(scores)), columns)
    preference, noise = floats(setup["P"]), setup.get("observed_flip_rate", 0)
    return tabular.pairs(reference, sampler, (1 - noise) * preference + noise * preference.T)


@pytest.mark.parametrize("case", TABULAR)
def test_tables_train_to_the_recorded_optimum(case: dict):
    objective = make(case["objective"], **case["hyperparameters"])
    closed_form, recorded = floats(case["closed_form"]), floats(case["optimised"])
    assert_reaches_optimum(objective, population(case["setup"]), closed_form.log())
    assert_close(closed_form, recorded, rtol=0, atol=2e-8)  # an independent L-BFGS run on the same population

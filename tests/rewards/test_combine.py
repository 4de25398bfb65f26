import doctest
import inspect
import json
import re
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import alignkit.rewards
from alignkit.rewards import Combine, find, make, names
from alignkit.rewards.combine.worst import Worst
from tests.objectives.properties import assert_refuses

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())["combine"]
SCORES = torch.tensor([[1.0, 4.0, -2.0], [3.0, 4.0, 0.0], [8.0, 4.0, -7.0]], dtype=torch.float64)
EVERY = pytest.mark.parametrize("name", names())


def floats(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_five_rules_ship():
    assert names() == ["lower_confidence", "mean", "median", "uncertainty_weighted", "worst"]
    assert find("worst") is Worst


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"{case['name']} {case['hyperparameters']}")
def test_scores_and_gradients_are_the_official_ones(case):
    scores = torch.tensor(RECORDED["scores"], dtype=torch.float64, requires_grad=True)
    combined = make(case["name"], **case["hyperparameters"])(scores)
    assert_close(combined, floats(*case["combined"]), rtol=0, atol=1e-7)  # the official code sums in float32
    if "gradient" in case:
        (gradient,) = torch.autograd.grad(combined.sum(), scores)
        assert_close(gradient, torch.tensor(case["gradient"], dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_example_runs():
    results = doctest.testmod(alignkit.rewards)
    assert (results.attempted, results.failed) == (4, 0)


def test_values_by_hand():
    assert_close(make("mean")(SCORES), floats(4, 4, -3))
    assert_close(make("worst")(SCORES), floats(1, 4, -7))
    assert_close(make("median")(SCORES), floats(3, 4, -2))
    assert_close(make("median")(SCORES[:2]), floats(2, 4, -1))
    variance = floats(26 / 3, 0, 26 / 3)
    assert_close(make("uncertainty_weighted", coefficient=0.5)(SCORES), floats(4, 4, -3) - 0.5 * variance)
    assert_close(make("uncertainty_weighted", unbiased=True)(SCORES), floats(4, 4, -3) - 0.75 * variance)
    assert_close(make("lower_confidence", coefficient=2)(SCORES), floats(4, 4, -3) - 2 * variance.sqrt())


@pytest.mark.parametrize("name", ["uncertainty_weighted", "lower_confidence"])
def test_coefficient_0_is_the_mean_exactly(name):
    scores = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0))
    scores[0, 0] = torch.inf
    assert torch.equal(make(name, coefficient=0)(scores), make("mean")(scores))


@EVERY
def test_members_that_agree_are_one_member(name):
    for members in (1, 2, 5):
        assert_close(make(name)(SCORES[:1].expand(members, 3)), SCORES[0])


@EVERY
def test_the_order_of_members_does_not_matter(name):
    assert_close(make(name)(SCORES.flip(0)), make(name)(SCORES))


@EVERY
def test_a_common_shift_of_the_scores_shifts_the_result(name):
    assert_close(make(name)(SCORES + 10), make(name)(SCORES) + 10)


@EVERY
def test_nan_stays_nan(name):
    spoilt = SCORES.clone()
    spoilt[1, 0] = torch.nan
    assert make(name)(spoilt).isnan().tolist() == [True, False, False]


@EVERY
def test_rules_are_frozen_values(name):
    rule = make(name)
    assert rule == make(name)
    assert hash(rule) == hash(make(name))
    with pytest.raises(FrozenInstanceError):
        rule.coefficient = 1.0


@EVERY
def test_docstrings_start_with_the_formula(name):
    assert re.search(r"\b(mean|min|median)_m r_m", inspect.cleandoc(find(name).__doc__).splitlines()[0])


@EVERY
def test_refusals_of_every_rule(name):
    expected = "expected (members, answers), at least 1 member"
    assert_refuses(f"scores have shape (3,); {expected}", make(name), SCORES[0])
    assert_refuses(f"scores have shape (0, 3); {expected}", make(name), SCORES[:0])
    assert_refuses("scores are torch.int64; give them as floating point", make(name), SCORES.long())


def test_refusals():
    assert_refuses("no combine named 'men'; did you mean 'mean'?", make, "men")
    for name in ("uncertainty_weighted", "lower_confidence"):
        message = "coefficient = -1.0 must be a finite number from 0 up; 0 is the mean"
        assert_refuses(message, make, name, coefficient=-1)
    assert_refuses(
        "UncertaintyWeighted has no 'coeficient'; did you mean 'coefficient'?",
        make,
        "uncertainty_weighted",
        coeficient=1,
    )
    alone = make("uncertainty_weighted", unbiased=True)
    assert_refuses("unbiased: true needs two members or more; write false for one", alone, SCORES[:1])


@dataclass(frozen=True, kw_only=True)
class First(Combine):
    """r_1"""

    def combined(self, scores):
        return scores[0]


def test_a_rule_of_ones_own_is_found_by_its_dotted_path():
    assert torch.equal(make(f"{__name__}.First")(SCORES), SCORES[0])
    message = f"{__name__}.SCORES is not a subclass of alignkit.rewards.Combine"
    assert_refuses(message, make, f"{__name__}.SCORES")

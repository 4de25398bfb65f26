import math

import numpy as np
import pytest

from alignkit.evaluation.statistics import correlation, interval, kappa, length_controlled, paired


def test_the_interval_of_independent_values_is_the_textbooks():
    values = np.random.default_rng(1).normal(5, 2, size=400)
    found = interval(values.tolist(), range(400))
    error = values.std() / math.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert (found.values, found.questions) == (400, 400)


def test_repeating_an_answer_does_not_make_it_surer():
    values = np.random.default_rng(1).normal(5, 2, size=60).tolist()
    once, often = interval(values, range(60)), interval(values * 4, [*range(60)] * 4)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=1e-9)
    assert often.questions == 60


def test_a_paired_difference_is_surer_than_two_means():
    rng = np.random.default_rng(2)
    hard = rng.normal(5, 2, size=40)
    a = {(q, 1): hard[q] + rng.normal(0, 0.3) for q in range(40)}
    b = {(q, 1): hard[q] + 0.5 + rng.normal(0, 0.3) for q in range(40)}
    found = paired(a, b)
    assert found.verdict == "better"
    assert found.p < 0.01
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.4
    mean = interval([*a.values()], [key[0] for key in a])
    assert mean.high - mean.low > 1
    back = paired(b, a)
    assert (back.verdict, back.difference) == ("worse", pytest.approx(-found.difference))


def test_p_counts_every_pattern_of_signs():
    a = {(q,): 0.0 for q in range(4)}
    assert paired(a, {(q,): 1.0 for q in range(4)}).p == 2 / 16
    assert paired(a, {(0,): 3.0, (1,): -1.0, (2,): 1.0, (9,): 5.0}).p == 6 / 8  # of 5, 3, 3 and 1 and their negatives
    assert paired(a, {(7,): 1.0}) is None


def test_nothing_is_claimed_where_there_is_nothing():
    """Of evaluations of two equal models one in twenty may be called different."""
    called = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        a, b = ({(q,): rng.normal() for q in range(12)} for _ in range(2))
        called += paired(a, b).verdict != "unclear"
    assert called <= 20


def test_without_a_difference_in_length_the_rate_is_the_rate():
    wins = [1.0, 1.0, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.5]
    assert length_controlled(wins, [0] * 10) == pytest.approx(sum(wins) / 10, abs=1e-3)


def test_a_win_by_length_alone_is_taken_back():
    rng = np.random.default_rng(3)
    longer = rng.normal(80, 100, size=2000)
    wins = (rng.random(2000) < 1 / (1 + np.exp(-2 * np.tanh(longer / longer.std())))).astype(float)
    assert wins.mean() > 0.6
    assert length_controlled(wins.tolist(), longer.tolist()) == pytest.approx(0.5, abs=0.05)
    assert length_controlled([1.0] * 8, [0] * 8) > 0.97


def test_agreement_of_judges():
    assert kappa([1, 1, 0, 0], [1, 1, 0, 0]) == 1
    assert kappa([1, 1, 0, 0], [1, 0, 1, 0]) == 0
    assert kappa([1, 1], [1, 1]) is None
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert correlation([1, 2, 3], [5, 5, 5]) is None

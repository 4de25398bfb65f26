import json
import math
from itertools import combinations, product
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from alignkit.rewards import best_of_each, best_of_n, kl_bound
from tests.objectives.properties import assert_refuses

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())["best_of_n"]
PROXY = [0.3, -1.0, 2.0, 0.3, 0.3, 2.0]
GOLD = [1.0, 5.0, -2.0, 3.0, 0.5, 4.0]


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"n={case['n']}")
def test_estimates_are_the_official_ones(case):
    for reward in ("gold", "proxy"):
        values = [best_of_n(prompt["proxy"], prompt[reward], case["n"]) for prompt in RECORDED["prompts"]]
        assert math.isclose(sum(values) / len(values), case[reward], rel_tol=0, abs_tol=1e-12)
    assert math.isclose(kl_bound(case["n"]), case["kl_bon"], rel_tol=0, abs_tol=1e-12)


@pytest.mark.parametrize("n", range(1, 7))
def test_the_estimate_is_the_mean_over_subsets_where_ties_are_drawn(n):
    subsets = []
    for subset in combinations(range(6), n):
        best = [i for i in subset if PROXY[i] == max(PROXY[j] for j in subset)]
        subsets.append(sum(GOLD[i] for i in best) / len(best))
    assert math.isclose(best_of_n(PROXY, GOLD, n), sum(subsets) / len(subsets), rel_tol=1e-12)


def test_several_sizes_at_once_are_each_by_itself():
    each = [best_of_n(PROXY, GOLD, n) for n in (6, 1, 3)]
    assert_close(best_of_each(PROXY, GOLD, [6, 1, 3]), torch.stack(each), rtol=1e-14, atol=0)
    assert_refuses("n = 7 must be from 1 to the number of answers, 6", best_of_each, PROXY, GOLD, [1, 7])


def test_the_estimate_has_no_bias():
    """Over all samples of four answers from a policy over three."""
    policy, proxy, gold = [0.5, 0.3, 0.2], [0.0, 2.0, 1.0], [1.0, 4.0, -3.0]

    def expected(size: int, value) -> float:
        return sum(math.prod(policy[i] for i in drawn) * value(drawn) for drawn in product(range(3), repeat=size))

    def estimate(drawn):
        return best_of_n([proxy[i] for i in drawn], [gold[i] for i in drawn], 2).item()

    truth = expected(2, lambda drawn: gold[max(drawn, key=lambda i: proxy[i])])
    assert math.isclose(expected(4, estimate), truth, rel_tol=1e-12)


def test_the_order_of_the_answers_does_not_matter():
    order = [4, 2, 0, 5, 3, 1]
    shuffled = [PROXY[i] for i in order], [GOLD[i] for i in order]
    assert math.isclose(best_of_n(*shuffled, 3), best_of_n(PROXY, GOLD, 3), rel_tol=1e-12)


def test_limits():
    assert_close(best_of_n(torch.tensor(PROXY), torch.tensor(GOLD), 1), torch.tensor(GOLD).mean())
    assert best_of_n(PROXY[1:5], GOLD[1:5], 4) == -2
    assert best_of_n([0.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], 4) == 3
    assert best_of_n(PROXY, GOLD, 2).dtype == torch.float64
    assert best_of_n(torch.tensor(PROXY), torch.tensor(GOLD), 2).dtype == torch.float32
    assert kl_bound(1) == 0


def test_thousands_of_answers():
    """Ranks 1..N have the mean n (N + 1) / (n + 1) for the best of n."""
    rank = torch.arange(1, 12_601, dtype=torch.float64)
    for n in (1, 2, 100, 12_500, 12_600):
        assert_close(
            best_of_n(rank, rank, n), torch.tensor(n * 12_601 / (n + 1), dtype=torch.float64), rtol=1e-10, atol=0
        )
    assert round(kl_bound(12_500), 2) == 8.43


def test_refusals():
    assert_refuses("n = 7 must be from 1 to the number of answers, 6", best_of_n, PROXY, GOLD, 7)
    assert_refuses("n = 0 must be from 1 to the number of answers, 6", best_of_n, PROXY, GOLD, 0)
    assert_refuses("proxy and gold have shapes (6,) and (5,); expected (N,)", best_of_n, PROXY, GOLD[1:], 2)
    assert_refuses("the proxy reward of answer 1 is NaN, which has no rank", best_of_n, [0.0, math.nan], [1.0, 2.0], 1)
    assert_refuses("n = 0 must be at least 1", kl_bound, 0)

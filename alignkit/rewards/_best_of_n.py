"""What the best of n answers is worth, and how far from the policy it is."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def best_of_n(proxy: Tensor | Sequence[float], gold: Tensor | Sequence[float], n: int) -> Tensor:
    """Unbiased estimate of the gold reward of the best of n answers by the proxy, from N answers to one prompt; ().

    sum_{i=n}^N C(i-1, n-1) / C(N, n) * gold_(i), with the answers in ascending order of the proxy: the mean over all
    subsets of n answers. Where answers tie for the best, one of them is drawn, so they share their mean gold reward.
    n = 1 is the mean over all answers, n = N the gold reward of the best. With `gold` the proxy itself, this is the
    proxy's own reward.

    Args:
        proxy: reward by which the best is chosen, (N,).
        gold: reward that counts, (N,), in the same order of answers.
        n: how many answers are drawn, 1 to N.

    Raises:
        ValueError: n out of range, different shapes, or a proxy reward that is NaN.

    Source: Coste et al. 2024, arXiv:2310.02743, whose code keeps the gold rewards of an ensemble in the order of its
    first member; here they always belong to their answers.
    """
    return best_of_each(proxy, gold, [n])[0]


def best_of_each(proxy: Tensor | Sequence[float], gold: Tensor | Sequence[float], sizes: Sequence[int]) -> Tensor:
    """`best_of_n` for several n at once, which sorts the answers once; (len(sizes),)."""
    proxies, golds = (
        value.double() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        for value in (proxy, gold)
    )
    if proxies.ndim != 1 or proxies.shape != golds.shape:
        raise ValueError(f"proxy and gold have shapes {tuple(proxies.shape)} and {tuple(golds.shape)}; expected (N,)")
    total = len(proxies)
    for n in sizes:
        if not 1 <= n <= total:
            raise ValueError(f"n = {n} must be from 1 to the number of answers, {total}")
    if proxies.isnan().any():
        raise ValueError(f"the proxy reward of answer {int(proxies.isnan().nonzero()[0])} is NaN, which has no rank")
    _, place, count = proxies.unique(return_inverse=True, return_counts=True)  # in ascending order
    weights = torch.stack([_weights(total, n, proxies.device) for n in sizes])
    shares = weights.new_zeros(len(sizes), len(count)).index_add(1, place.sort().values, weights)  # of equal proxies
    means = golds.new_zeros(len(count)).index_add(0, place, golds) / count
    value = shares @ means
    return value.to(gold.dtype) if isinstance(gold, Tensor) and gold.is_floating_point() else value


def kl_bound(n: int) -> float:
    """Upper bound, in nats, on the KL divergence of the best of n answers from the policy: log n - (n - 1) / n.

    Far from exact where single answers are likely or rewards tie; close where neither is so (Beirami et al. 2024,
    arXiv:2401.01879).
    """
    if n < 1:
        raise ValueError(f"n = {n} must be at least 1")
    return math.log(n) - (n - 1) / n


def _weights(total: int, n: int, device: torch.device) -> Tensor:
    """Probability that the answer of rank i = 1..N, ascending, is the best of n, (N,)."""
    rank = torch.arange(1, total + 1, dtype=torch.float64, device=device)
    logs = torch.lgamma(rank) - torch.lgamma(rank - n + 1)  # log C(i-1, n-1) up to a constant; -inf below rank n
    return torch.where(rank >= n, logs, -torch.inf).softmax(dim=0)

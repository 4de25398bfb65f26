"""Optima that theory gives in closed form, as log-probabilities. Nothing here knows an objective."""

from collections.abc import Callable
from math import comb, sqrt

import torch
from torch import Tensor


def bradley_terry(reward: Tensor) -> Tensor:
    """P[i, j] = sigmoid(r_i - r_j), (n, n)."""
    return torch.sigmoid(reward[:, None] - reward[None, :])


def flipped(preference: Tensor, rate: float) -> Tensor:
    """Win rates after a share `rate` of the labels is flipped: (1 - e) P + e (1 - P)."""
    return (1 - rate) * preference + rate * (1 - preference)


def tilted(log_weights: Tensor, exponent: Tensor | float = 0.0) -> Tensor:
    """log of the policy proportional to exp(log_weights + exponent), along the last axis."""
    return (log_weights + exponent).log_softmax(-1)


def ipo(ref: Tensor, mu: Tensor, preference: Tensor, tau: float) -> Tensor:
    """pi proportional to ref * exp(P(y preferred to mu) / tau)."""
    return tilted(ref.log(), preference @ mu / tau)


def srpo(ref: Tensor, preference: Tensor, beta: float) -> Tensor:
    """(n + 1, n): row 0 is ref / Z, row 1 + j the revision policy ref(y | j) exp(P[y, j] / beta) / Z(j)."""
    log_weights = ref[1:].log() + preference.T / beta
    policy = tilted(ref[0].log(), -log_weights.logsumexp(-1))
    return torch.cat([policy[None], tilted(log_weights)])


def mixce(data: Tensor, eta: float) -> Tensor:
    """pi_i = eta p_i / (lambda - (1 - eta) p_i), rows of `data` (..., n); what the data never holds gets -inf.

    At eta = 0 all mass is on the most frequent entry.
    """
    if eta == 0:
        return torch.nn.functional.one_hot(data.argmax(-1), data.shape[-1]).to(data.dtype).log()

    def policy(shift: Tensor) -> Tensor:  # shift = lambda - (1 - eta) max p, in (0, eta]
        return eta * data / (shift + (1 - eta) * (data.amax(-1, keepdim=True) - data))

    low = torch.full_like(data[..., :1], 1e-300)
    shift = bisect(lambda shift: 1 - policy(shift).sum(-1, keepdim=True), low, low + eta)
    return policy(shift).log()


def poft(data: Tensor, aligned_logps: Tensor, beta: float, gamma: float) -> Tensor:
    """pi_y proportional to p_y * sigmoid(-beta (log pi_y - r_y) - gamma): a root for each y, then one for the constant.

    With beta = 1 and gamma = 0 it is (-rho + sqrt(rho^2 + 4 p rho / lambda)) / 2, rho = exp(r).
    """

    def policy(log_constant: Tensor) -> Tensor:
        def excess(logp: Tensor) -> Tensor:
            weight = torch.nn.functional.logsigmoid(-beta * (logp - aligned_logps) - gamma)
            return logp + log_constant - data.log() - weight

        return bisect(excess, torch.full_like(data, -1e3), torch.full_like(data, 1e3))

    bound = torch.tensor(500.0, dtype=data.dtype)
    return policy(bisect(lambda constant: -policy(constant).logsumexp(-1), -bound, bound))


def reverse_tilted(ref: Tensor, exponent: Tensor) -> Tensor:
    """log of pi = ref / (1 - (exponent - c)), c such that it sums to 1: k3's gradient is that of KL(ref || pi)."""

    def policy(c: Tensor) -> Tensor:
        return ref / (1 - exponent + c)

    low = exponent.max() - 1
    c = bisect(lambda c: 1 - policy(c).sum(), low + 1e-12, low + 1e3)
    return policy(c).log()


def prompt_weight(method: str, share: float, size: int) -> float:
    """Weight of a prompt that is solved with probability `share`, from groups of `size` answers."""
    if method == "dr_grpo":
        return (1 - 1 / size) * share * (1 - share)
    if method == "disco":
        return 1 - share**size - (1 - share) ** size
    terms = [
        comb(size, k) * share**k * (1 - share) ** (size - k) * sqrt(k * (size - k)) / size for k in range(size + 1)
    ]
    return sqrt((size - 1) / size) * sum(terms)


def prompt_weight_limit(method: str, share: float) -> float:
    """`prompt_weight` as groups grow."""
    return {"grpo": sqrt(share * (1 - share)), "dr_grpo": share * (1 - share), "disco": 1.0}[method]


def napo_dynamic_q(mean_margin: Tensor, alpha: float) -> float:
    """The q with q = 2 (1 - sigmoid(alpha M)), where M = mean_margin / (1 - q) is the mean margin of its optimum."""
    low, high = torch.tensor([0.0, 1.0], dtype=mean_margin.dtype)
    return bisect(lambda q: q - 2 * torch.sigmoid(-alpha * mean_margin / (1 - q)), low, high).item()


def bisect(increasing: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Zero of a function that increases from below 0 to above it, elementwise, to the last bit."""
    for _ in range(64):
        middle = (low + high) / 2
        above = increasing(middle) > 0
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2

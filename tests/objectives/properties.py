"""Theorems about objectives, as asserts. A test file declares which of them hold for its objective.

`assert_lawful` holds for every objective; the others say what a method is. A batch may be of any shape: an objective
learns through the fields in `LEARNED`, every other tensor is data.
"""

from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import (
    Batch,
    GroupLogps,
    Objective,
    PairLogps,
    RevisionLogps,
    RewardScores,
    TokenLogps,
    UnpairedLogps,
)
from tests.objectives.tabular import Population, settle

REVISION = ("chosen_given_rejected", "rejected_given_rejected", "chosen_given_chosen", "rejected_given_chosen")
LEARNED: dict[type[Batch], tuple[str, ...]] = {
    PairLogps: ("chosen", "rejected"),
    TokenLogps: ("logps",),
    UnpairedLogps: ("policy",),
    RevisionLogps: ("chosen", "rejected", *REVISION),
    RewardScores: ("scores",),
    GroupLogps: ("logps",),
}


def assert_terms(objective: Objective, batch: Batch, expected: list, count: int) -> None:
    """The formula gives these numbers, worked out by hand, and the loss is their sum over `count`."""
    result = objective(batch)
    expected = torch.tensor(expected, dtype=result.terms.dtype)
    assert_close(result.terms, expected, rtol=1e-12, atol=1e-12)
    assert result.count.item() == count
    assert_close(objective.loss(batch), expected.sum() / count, rtol=1e-12, atol=1e-12)


def assert_gradient(
    objective: Objective, batch: Batch, potential: Callable[[Batch], Tensor] | None = None, step: float = 1e-5
) -> None:
    """The derivative of every term by every log-probability is what central differences say.

    Where a factor is detached the value is no potential of the gradient; `potential` then gives terms that are.
    """
    potential = potential or (lambda changed: objective(changed).terms)
    values = learned(batch)

    def terms(*values: Tensor) -> Tensor:
        return objective(with_learned(batch, values)).terms

    exact = torch.autograd.functional.jacobian(terms, values)
    for index, value in enumerate(values):
        for entry in range(value.numel()):
            change = torch.zeros_like(value)
            change.view(-1)[entry] = step
            above, below = (
                potential(with_learned(batch, (*values[:index], value + sign * change, *values[index + 1 :])))
                for sign in (1, -1)
            )
            slope = (above - below) / (2 * step)
            assert_close(exact[index].flatten(slope.ndim)[..., entry], slope, rtol=1e-6, atol=1e-8)


def assert_reduces_to(objective: Objective, other: Objective, batch: Batch, tolerance: float = 1e-12) -> None:
    """Both objectives have the same terms, counts and gradients on `batch`."""
    assert_close(objective(batch).terms, other(batch).terms, rtol=tolerance, atol=tolerance)
    assert_close(objective(batch).count, other(batch).count)
    assert_close(gradients(objective, batch), gradients(other, batch), rtol=tolerance, atol=tolerance)


def assert_rewards(objective: Objective, batch: Batch, chosen: Tensor, rejected: Tensor) -> None:
    """The metrics are the implicit rewards `chosen` and `rejected`, under the names that TRL's users watch."""
    expected = {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
        "rewards/margins": chosen - rejected,
    }
    assert_close(dict(objective(batch).metrics), expected, rtol=1e-12, atol=1e-12)


def assert_shift_invariant(objective: Objective, batch: Batch, *names: str) -> None:
    """Adding the same number, another one in every row, to all fields or columns in `names` changes nothing."""
    rows = len(learned(batch)[0])
    shift = torch.linspace(-3, 5, rows, dtype=learned(batch)[0].dtype)
    given = {name: getattr(batch, name) for name in names if hasattr(batch, name)}
    moved = {name: value + shift.view(-1, *[1] * (value.ndim - 1)) for name, value in given.items()}
    columns = {name: value + shift if name in names else value for name, value in batch.columns.items()}
    shifted = replace(batch, **moved, columns=columns)
    assert_close(objective(shifted).terms, objective(batch).terms, rtol=1e-10, atol=1e-10)
    assert_close(gradients(objective, shifted), gradients(objective, batch), rtol=1e-10, atol=1e-10)


def assert_reaches_optimum(
    objective: Objective, population: Population, expected: Tensor, starts: int = 3, tolerance: float = 1e-6
) -> None:
    """Training a table of logits on the exact expectation ends at the policy `expected` from wherever it starts.

    `expected` holds log-probabilities; where one is -inf the answer must have died out. Descent must come back after a
    small push: a saddle or a maximum is no optimum.
    """
    generator = torch.Generator().manual_seed(0)
    for number in range(starts):
        start = 2 * number * torch.randn(expected.shape, generator=generator, dtype=expected.dtype)  # first: uniform
        logits, jacobian = settle(objective, population, start)
        reached = logits.log_softmax(dim=-1)
        alive = expected.isfinite()
        assert_close(reached[alive], expected[alive], rtol=0, atol=tolerance)
        assert (reached[~alive] < -20).all()
        assert torch.linalg.eigvals(jacobian).real.min() > -1e-9, "not a resting place of descent"


def assert_lawful(objective: Objective, batch: Batch) -> None:
    """What holds for every objective whatever its formula."""
    assert_pure(objective, batch)
    assert_finite_at_extremes(objective, batch)
    assert_count_ignores_logps(objective, batch)
    assert_split_invariant(objective, batch)


def assert_pure(objective: Objective, batch: Batch) -> None:
    """A frozen, hashable value whose call leaves everything as it was, repeats, and keeps the batch's dtype."""
    with pytest.raises(FrozenInstanceError):
        objective.anything = 1
    assert objective == replace(objective)
    assert hash(objective) == hash(replace(objective))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        cast = with_dtype(batch, dtype)
        cast = with_learned(cast, tuple(value.clone().requires_grad_() for value in learned(cast)))
        before = {name: value.detach().clone() for name, value in tensors(cast)}
        generator = torch.get_rng_state()
        result, again = objective(cast), objective(cast)
        objective.loss(cast).backward()
        for name, value in tensors(cast):
            assert torch.equal(value, before[name]), f"{name} was changed"
        assert torch.equal(torch.get_rng_state(), generator), "random numbers were drawn"
        assert torch.equal(result.terms, again.terms)
        assert result.terms.dtype == dtype
        assert all(torch.equal(value, again.metrics[name]) for name, value in result.metrics.items())
        for value in (result.count, *result.metrics.values()):
            assert not value.requires_grad
            assert value.dtype == dtype or not value.is_floating_point()


def assert_finite_at_extremes(objective: Objective, batch: Batch, size: float = 1e3) -> None:
    """Log-probabilities that differ by `size` give finite terms, gradients, losses and metrics."""
    for dtype in (torch.float32, torch.float64):
        for extreme in extremes(with_dtype(batch, dtype), size):
            result = objective(extreme)
            finite = (result.terms, objective.loss(extreme), *result.metrics.values(), *gradients(objective, extreme))
            assert all(value.isfinite().all() for value in finite), extreme


def assert_count_ignores_logps(objective: Objective, batch: Batch) -> None:
    """The count is an integer scalar known before the forward pass: log-probabilities, even NaN, leave it alone."""
    count = objective(batch).count
    assert count.ndim == 0
    assert not count.is_floating_point()
    unknown = with_learned(batch, tuple(torch.full_like(value, torch.nan) for value in learned(batch)))
    for other in (unknown, *extremes(batch, 1e3, patterns=4)):
        assert torch.equal(objective(other).count, count)


def assert_split_invariant(objective: Objective, batch: Batch) -> None:
    """Terms and counts summed over micro-batches, however cut, give the loss and gradient of the whole batch.

    Statistics are summed over the micro-batches and handed to each, as a trainer does over ranks.
    """
    values = tuple(value.detach().clone().requires_grad_() for value in learned(batch))
    whole = with_learned(batch, values)
    loss = objective.loss(whole)
    gradient = grad(loss, values)
    length = len(values[0])
    singles = list(range(length + 1))
    for cuts in (singles, [0, 1, length], [0, length - 1, length], [0, 0, length // 2, length, length]):
        pieces = [rows(whole, start, stop) for start, stop in pairwise(cuts)]
        statistics = summed([objective.statistics(piece) for piece in pieces])
        results = [objective(replace(piece, statistics=statistics)) for piece in pieces]
        total = sum(result.terms.sum() for result in results) / sum(result.count for result in results)
        assert_close(total, loss, rtol=1e-12, atol=1e-12)
        assert_close(grad(total, values), gradient, rtol=1e-12, atol=1e-12)


def assert_refuses(message: str, call: Callable, *arguments: object, **keywords: object) -> None:
    """The call raises ValueError with exactly this message."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        call(*arguments, **keywords)
    assert str(caught.value) == message


def learned(batch: Batch) -> tuple[Tensor, ...]:
    """The log-probabilities that gradients reach."""
    return tuple(getattr(batch, name) for name in LEARNED[type(batch)])


def with_learned(batch: Batch, values: tuple[Tensor, ...]) -> Batch:
    return replace(batch, **dict(zip(LEARNED[type(batch)], values, strict=True)))


def gradients(objective: Objective, batch: Batch) -> tuple[Tensor, ...]:
    """Gradients of the loss by the learned log-probabilities."""
    values = tuple(value.detach().clone().requires_grad_() for value in learned(batch))
    return grad(objective.loss(with_learned(batch, values)), values)


def grad(loss: Tensor, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients, zeros by values that the loss does not use."""
    return torch.autograd.grad(loss, values, allow_unused=True, materialize_grads=True)


def tensors(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a batch by name, columns included, statistics apart."""
    for item in fields(batch):
        if isinstance(value := getattr(batch, item.name), Tensor):
            yield item.name, value
    yield from batch.columns.items()


def mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with `change` applied to every tensor."""
    changed = {name: change(value) for name, value in tensors(batch)}
    columns = {name: changed.pop(name) for name in batch.columns}
    return replace(batch, **changed, columns=columns)


def with_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    return mapped(batch, lambda value: value.to(dtype) if value.is_floating_point() else value)


def rows(batch: Batch, start: int, stop: int) -> Batch:
    """A micro-batch: the rows from `start` to `stop`; scalars belong to every row."""
    return mapped(batch, lambda value: value[start:stop] if value.ndim else value)


def extremes(batch: Batch, size: float, patterns: int = 16) -> Iterator[Batch]:
    """The batch with every log-probability, references too, either -size or 0, in many patterns."""
    generator = torch.Generator().manual_seed(0)
    kept = {*batch.columns, "rewards"}
    for _ in range(patterns):
        changed = {
            name: -size * torch.randint(2, value.shape, generator=generator).to(value.dtype)
            for name, value in tensors(batch)
            if value.is_floating_point() and name not in kept
        }
        yield replace(batch, **changed)


def summed(statistics: list) -> dict[str, tuple[Tensor, Tensor]]:
    names = statistics[0]
    return {name: tuple(sum(piece[name][part] for piece in statistics).detach() for part in (0, 1)) for name in names}

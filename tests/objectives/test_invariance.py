"""What changes no loss and no gradient, for every objective that ships: the order of rows, padding, and the split.

The split into micro-batches or over ranks is one and the same cut here. Where an objective wants to know something
about the whole batch it must be told so; `WITHOUT_STATISTICS` says which do, and what else no statistic can make good.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad
from torch.testing import assert_close

from alignkit.objectives import GroupLogps, RewardScores, TokenLogps, make, names
from tests.objectives.properties import assert_split_invariant, gradients, learned, mapped, rows, summed
from tests.objectives.samples import sample

VARIANTS = {
    "grpo, scaling by batch": ("grpo", {"scaling": "batch"}),
    "grpo, bnpo": ("grpo", {"reduction": "bnpo"}),
    "grpo, dr_grpo": ("grpo", {"reduction": "dr_grpo", "max_completion_length": 8}),
    "grpo, sequence": ("grpo", {"ratio": "sequence", "reduction": "grpo"}),
    "napo, fixed q": ("napo", {"q": 0.5}),
    "plackett_luce, pairwise": ("plackett_luce", {"form": "pairwise"}),
}
SHIPPED = {**{name: (name, {}) for name in names()}, **VARIANTS}
EVERY = pytest.mark.parametrize("shipped", SHIPPED)

WITHOUT_STATISTICS = {
    "napo": "its q follows the mean margin of the batch",
    "disco": "its penalty follows the mean KL of the batch, whose tokens are also a prompt's share",
    "grpo, scaling by batch": "advantages are divided by the rewards' standard deviation over the batch",
}


def objective_of(shipped):
    name, hyperparameters = SHIPPED[shipped]
    return make(name, **hyperparameters)


def cut(objective, batch, statistics):
    """Loss of the batch in two unequal pieces, each with these statistics or, where None, with its own."""
    pieces = [rows(batch, 0, 1), rows(batch, 1, len(learned(batch)[0]))]
    results = [objective(replace(piece, statistics=statistics)) for piece in pieces]
    return sum(result.terms.sum() for result in results) / sum(result.count for result in results)


@EVERY
def test_the_order_of_rows(shipped):
    objective = objective_of(shipped)
    batch = sample(objective)
    order = torch.arange(len(learned(batch)[0])).roll(1).flip(0)
    other = mapped(batch, lambda value: value[order] if value.ndim else value)
    assert_close(objective.loss(other), objective.loss(batch), rtol=1e-12, atol=1e-12)
    for mine, expected in zip(gradients(objective, other), gradients(objective, batch), strict=True):
        assert_close(mine, expected[order], rtol=1e-12, atol=1e-12)


def padded(batch, columns):
    """The batch with so many masked columns more, full of what must not be read."""
    changed = {}
    for name in ("logps", "scores", "old_logps", "ref_logps", "entropies"):
        if getattr(batch, name, None) is not None:
            changed[name] = pad(getattr(batch, name), (0, columns), value=-77.0)
    mask = torch.ones_like(batch.scores, dtype=torch.bool) if getattr(batch, "mask", None) is None else batch.mask
    return replace(batch, mask=pad(mask, (0, columns), value=False), **changed)


@EVERY
def test_padding(shipped):
    """Pairs, answers and revisions come as sums over tokens, in which padding has no part."""
    objective = objective_of(shipped)
    batch = sample(objective)
    if not isinstance(batch, TokenLogps | GroupLogps | RewardScores) or getattr(objective, "pairs_only", False):
        assert all(value.ndim <= 1 or value.shape[1] == 2 for value in learned(batch))
        return
    wide = padded(batch, 3)
    assert_close(objective.loss(wide), objective.loss(batch), rtol=1e-12, atol=1e-12)
    for mine, expected in zip(gradients(objective, wide), gradients(objective, batch), strict=True):
        assert_close(mine, pad(expected, (0, 3)), rtol=1e-12, atol=1e-12)


@EVERY
def test_the_split_with_the_statistics_of_the_whole(shipped):
    """Micro-batches, accumulation and ranks, some of them without rows."""
    objective = objective_of(shipped)
    assert_split_invariant(objective, sample(objective))


@EVERY
def test_the_split_without_statistics(shipped):
    objective = objective_of(shipped)
    batch = sample(objective)
    whole = objective.loss(batch)
    apart = (cut(objective, batch, None) - whole).abs() / whole.abs()
    assert bool(objective.statistics(batch)) == (shipped in WITHOUT_STATISTICS)
    if shipped in WITHOUT_STATISTICS:
        assert apart > 1e-4, "the batch does not show it"
        assert_close(cut(objective, batch, summed([objective.statistics(batch)])), whole)
    else:
        assert apart < 1e-12


def test_a_quantile_of_entropies_is_of_the_micro_batch():
    """No sum and count gives a quantile of the whole, so it cannot be invariant."""
    objective = make("grpo", top_entropy_quantile=0.5)
    batch = sample(objective)
    entropies = torch.linspace(0, 3, batch.logps.numel(), dtype=batch.logps.dtype).view_as(batch.logps)
    batch = replace(batch, entropies=entropies)
    assert (cut(objective, batch, None) - objective.loss(batch)).abs() > 1e-4


def test_dr_grpo_without_a_longest_answer_divides_by_the_batchs_width():
    """Which padding changes; a trainer pads to max_completion_length."""
    batch = sample(make("grpo"))
    objective = make("grpo", reduction="dr_grpo")
    assert_close(objective.loss(padded(batch, 3)) * 2, objective.loss(batch), rtol=1e-12, atol=1e-12)

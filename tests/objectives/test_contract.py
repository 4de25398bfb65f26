"""What everything outside relies on: make, find, names, and what every objective promises with its default numbers."""

from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch

from alignkit.objectives import (
    GroupLogps,
    GroupObjective,
    Loss,
    Objective,
    PairLogps,
    PairObjective,
    RevisionObjective,
    RewardObjective,
    RewardScores,
    TokenLogps,
    TokenObjective,
    UnpairedObjective,
    find,
    make,
    names,
)
from alignkit.objectives.hdpo import HDPO
from tests.objectives.properties import assert_lawful, assert_refuses, gradients, rows
from tests.objectives.samples import PAIRS, sample

EVERY = pytest.mark.parametrize("name", names())


def test_the_eight_of_the_core_ship():
    assert {"dpo", "hdpo", "ipo", "mixce", "mmpo", "napo", "nll", "robust_dpo"} <= set(names())


def test_make_finds_converts_and_constructs():
    assert find("hdpo") is HDPO
    assert make("hdpo", alpha="0.8", beta=1) == HDPO(alpha=0.8, beta=1.0)
    assert isinstance(make("hdpo", beta=1).beta, float)


def test_bad_names_suggest_the_nearest():
    assert_refuses("no objective named 'h_dpo'; did you mean 'hdpo'?", make, "h_dpo")
    assert_refuses("no objective named 'mixcee'; did you mean 'mixce'?", find, "mixcee")
    assert_refuses(f"no objective named 'xyz'; choose from {', '.join(names())}", find, "xyz")
    assert_refuses(f"no objective named '_ops'; choose from {', '.join(names())}", find, "_ops")


def test_bad_hyperparameters_say_what_to_write():
    assert_refuses("DPO has no 'bta'; did you mean 'beta'?", make, "dpo", bta=0.1)
    text = "DPO: beta = 'much': input should be a valid number, unable to parse string as a number"
    assert_refuses(text, make, "dpo", beta="much")
    assert_refuses("DPO: beta = True: input should be a valid number, not true or false", make, "dpo", beta=True)
    assert_refuses("HDPO: alpha = None: input should be a valid number", make, "hdpo", alpha=None)


@EVERY
def test_every_objective_is_lawful_as_it_ships(name):
    objective = make(name)
    assert_lawful(objective, sample(objective))


@EVERY
def test_one_row_alone(name):
    objective = make(name)
    one = rows(sample(objective), 0, 1)
    assert objective(one).terms.shape[0] == 1
    assert objective.loss(one).isfinite()


@EVERY
def test_no_rows_at_all_give_loss_0(name):
    objective = make(name)
    none = rows(sample(objective), 0, 0)
    assert objective(none).count == 0
    assert objective.loss(none) == 0
    assert all(gradient.numel() == 0 for gradient in gradients(objective, none))


@EVERY
def test_columns_that_are_asked_for_are_all_that_is_read(name):
    objective = make(name)
    given = sample(objective)
    fewer = {column: given.columns[column] for column in objective.columns}
    assert torch.equal(objective(type(given)(**{**vars(given), "columns": fewer})).terms, objective(given).terms)


def test_only_methods_with_a_reference_need_one():
    with_reference = PairObjective | UnpairedObjective | RevisionObjective  # of the others some may
    for name in names():
        objective = make(name)
        assert objective.needs_reference == (isinstance(objective, with_reference)), name
    assert make("dpo").columns == ()


def test_a_loss_is_frozen_and_needs_no_metrics():
    loss = Loss(torch.zeros(2), torch.tensor(2))
    assert loss.metrics == {}
    with pytest.raises(FrozenInstanceError):
        loss.count = torch.tensor(3)


def test_objectives_and_families_are_abstract():
    for family in (Objective, GroupObjective, PairObjective, RewardObjective, TokenObjective):
        with pytest.raises(TypeError, match="abstract"):
            family()
    assert (PairObjective.batch, TokenObjective.batch) == (PairLogps, TokenLogps)
    assert (RewardObjective.batch, GroupObjective.batch) == (RewardScores, GroupLogps)


@dataclass(frozen=True, kw_only=True)
class Contrast(PairObjective):
    """An objective of a user's own, whose statistic is the mean of both log-probabilities."""

    def statistics(self, batch):
        return {"level": (batch.chosen.sum() + batch.rejected.sum(), torch.tensor(2 * len(batch.chosen)))}

    def __call__(self, batch):
        terms = (batch.chosen - self._mean("level", batch)).square()
        return Loss(terms, torch.tensor(len(terms)))


def test_an_objective_of_ones_own_is_as_lawful():
    assert_lawful(Contrast(), PAIRS)
    assert make(f"{__name__}.Contrast") == Contrast()


def test_statistics_have_no_gradient():
    chosen, rejected = gradients(Contrast(), PAIRS)
    assert chosen.abs().min() > 0
    assert rejected.abs().max() == 0

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from alignkit.objectives import PairLogps, RevisionLogps, make
from alignkit.objectives.ipo import IPO
from alignkit.objectives.srpo import SRPO
from tests.objectives import recorded, tabular
from tests.objectives.properties import (
    LEARNED,
    REVISION,
    assert_gradient,
    assert_lawful,
    assert_reaches_optimum,
    assert_refuses,
    assert_shift_invariant,
    assert_terms,
    gradients,
)
from tests.objectives.samples import REVISIONS, numbers

NAMES = LEARNED[RevisionLogps]
REFERENCE = numbers(0.5, 0.3, 0.2)
REVISE = torch.stack([numbers(0.2, 0.1, 0.7), numbers(0.3, 0.6, 0.1), numbers(0.4, 0.3, 0.3)])
CYCLE = torch.stack([numbers(0.5, 0.9, 0.3), numbers(0.1, 0.5, 0.7), numbers(0.7, 0.3, 0.5)])  # no reward explains it
UNIFORM, SKEWED = numbers(1, 1, 1) / 3, numbers(0.8, 0.15, 0.05)


def revisions(**ratios: float) -> RevisionLogps:
    """One pair with the given log pi/ref, 0 where none is given."""
    policy = {name: numbers(-8.0 + ratios.pop(name, 0.0)) for name in NAMES}
    assert not ratios
    return RevisionLogps(**policy, **{f"ref_{name}": numbers(-8.0) for name in NAMES})


def population(reference: Tensor, revise: Tensor, sampler: Tensor, preference: Tensor) -> tabular.Population:
    """All pairs of answers; row 0 of the policy's table answers, row 1 + j improves on answer j."""
    every = torch.arange(len(reference))
    winner, loser = (grid.flatten() for grid in torch.meshgrid(every, every, indexing="ij"))
    weight = sampler[winner] * sampler[loser] * preference.flatten()
    log_reference = torch.cat([reference[None], revise]).log()

    def read(table: Tensor) -> dict[str, Tensor]:
        answers = (table[0, winner], table[0, loser])
        given_loser = (table[1 + loser, winner], table[1 + loser, loser])
        given_winner = (table[1 + winner, winner], table[1 + winner, loser])
        return dict(zip(NAMES, (*answers, *given_loser, *given_winner), strict=True))

    def everything(policy: Tensor) -> tuple[RevisionLogps, Tensor]:
        reference = {f"ref_{name}": value for name, value in read(log_reference).items()}
        return RevisionLogps(**read(policy), **reference), weight

    return everything


def optimum(reference: Tensor, revise: Tensor, preference: Tensor, beta: float) -> Tensor:
    """Log of ref(a|b) exp(P(a over b) / beta) / Z(b), below log of ref(y) / Z(y), normalised."""
    tilted = revise * (preference.T / beta).exp()
    policy = reference / tilted.sum(dim=1)
    return torch.cat([(policy / policy.sum())[None], tilted / tilted.sum(dim=1, keepdim=True)]).log()


@pytest.mark.parametrize(
    "objective", [SRPO(), SRPO(alpha=0.0, beta=0.3), SRPO(alpha=1.0), SRPO(alpha=0.5, gen_scale=0.25)]
)
def test_laws(objective):
    assert_lawful(objective, REVISIONS)


def test_gradient():
    assert_gradient(SRPO(alpha=0.3, beta=0.2, gen_scale=0.5), REVISIONS)


def test_terms_one_log_ratio_at_a_time():
    objective = SRPO(alpha=0.75, beta=0.5)  # with rho = 1: 1/4 (1 - 1/2)^2 and 3/4 (1/2 - 1/2)^2
    assert_terms(objective, revisions(), [1 / 4 + 3 / 8], count=1)
    assert_terms(objective, revisions(chosen=1.0), [1 / 16 + 3 / 8], count=1)
    assert_terms(objective, revisions(rejected=1.0), [9 / 16 + 3 / 8], count=1)
    assert_terms(objective, revisions(chosen_given_rejected=1.0), [1 / 16 + 3 / 16], count=1)
    assert_terms(objective, revisions(rejected_given_rejected=1.0), [1 / 4 + 3 / 4 + 3 / 16], count=1)
    assert_terms(objective, revisions(chosen_given_chosen=1.0), [1 / 4 + 3 / 16], count=1)
    assert_terms(objective, revisions(rejected_given_chosen=1.0), [9 / 16 + 3 / 4 + 3 / 16], count=1)


def test_gen_scale_of_a_quarter_is_the_halved_form():
    h = 0.2 * 3.0
    batch = revisions(chosen=1.0, rejected_given_chosen=-2.0)
    assert_close(SRPO(alpha=0, beta=0.2, gen_scale=0.25)(batch).terms, numbers((0.5 - h / 2) ** 2))


def test_alpha_0_with_an_idle_revision_policy_is_ipo():
    """(1 - beta h)^2 = beta^2 (h - 1 / beta)^2, and 1 / beta = 1 / (2 tau) for tau = beta / 2."""
    idle = replace(REVISIONS, **{name: getattr(REVISIONS, f"ref_{name}") for name in REVISION})
    pairs = PairLogps(**{name: getattr(idle, name) for name in ("chosen", "rejected", "ref_chosen", "ref_rejected")})
    assert_close(SRPO(alpha=0, beta=0.3)(idle).terms, 0.3**2 * IPO(tau=0.15)(pairs).terms)


def test_alpha_1_does_not_train_the_policy_and_alpha_0_leaves_out_two_revisions():
    slopes = dict(zip(NAMES, gradients(SRPO(alpha=1.0, beta=0.3), REVISIONS), strict=True))
    assert {name for name, slope in slopes.items() if (slope == 0).all()} == {"chosen", "rejected"}
    slopes = dict(zip(NAMES, gradients(SRPO(alpha=0.0, beta=0.3), REVISIONS), strict=True))
    assert {name for name, slope in slopes.items() if (slope == 0).all()} == {
        "rejected_given_rejected",
        "chosen_given_chosen",
    }


def test_only_log_ratios_matter():
    for name in NAMES:
        assert_shift_invariant(SRPO(beta=0.3), REVISIONS, name, f"ref_{name}")


def test_metrics_tell_the_two_losses_apart():
    metrics = SRPO(alpha=0.25, beta=0.5)(revisions(chosen=1.0, chosen_given_rejected=1.0)).metrics
    assert_close(metrics["loss/generation"], numbers(0.0))
    assert_close(metrics["loss/revision"], numbers(0.25))
    assert_close(metrics["revision/accuracies"], numbers(1.0))
    assert_close(metrics["rewards/margins"], numbers(0.5))


@pytest.mark.parametrize("alpha", [0.2, 0.9])
@pytest.mark.parametrize("sampler", [UNIFORM, SKEWED], ids=["uniform", "skewed"])
def test_optimum_depends_neither_on_who_drew_the_pairs_nor_on_alpha(alpha, sampler):
    expected = optimum(REFERENCE, REVISE, CYCLE, beta=0.25)
    objective = SRPO(alpha=alpha, beta=0.25)
    assert_reaches_optimum(objective, population(REFERENCE, REVISE, sampler, CYCLE), expected, starts=2)


@pytest.mark.parametrize("case", recorded.optima("srpo"))
def test_tables_train_to_the_recorded_optimum(case):
    reference, revise, preference, sampler = (
        recorded.floats(case["setup"][name]) for name in ("pi_ref", "pi_ref_dagger", "P", "mu")
    )
    closed_form = recorded.floats(case["closed_form"])
    assert_close(optimum(reference, revise, preference, case["hyperparameters"]["beta"]), closed_form.log())
    assert_close(closed_form, recorded.floats(case["optimised"]), rtol=0, atol=2e-8)
    objective = make("srpo", **case["hyperparameters"])
    assert_reaches_optimum(objective, population(reference, revise, sampler, preference), closed_form.log(), starts=1)


@pytest.mark.parametrize("case", recorded.cases("srpo"))
def test_losses_and_gradients_are_the_recorded_ones(case):
    given = recorded.inputs(case)
    recorded.assert_recorded(case, given, RevisionLogps(**given))


def test_every_recorded_case_runs():
    assert (len(recorded.cases("srpo")), len(recorded.optima("srpo"))) == (4, 2)


def test_refusals():
    for alpha in (-0.1, 1.5, float("nan")):
        assert_refuses(f"alpha = {alpha} must lie in [0, 1]", make, "srpo", alpha=alpha)
    assert_refuses("beta = 0.0 must be a finite number above 0", make, "srpo", beta=0)
    assert_refuses("gen_scale = -1.0 must be a finite number above 0", make, "srpo", gen_scale=-1)
    shorter = {**{name: getattr(REVISIONS, name) for name in NAMES}, "rejected_given_chosen": numbers(-1.0)}
    reference = {f"ref_{name}": getattr(REVISIONS, f"ref_{name}") for name in NAMES}
    assert_refuses(
        "RevisionLogps.rejected_given_chosen has shape (1,); expected (4,)", RevisionLogps, **shorter, **reference
    )

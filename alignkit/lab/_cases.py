"""Objectives on problems of five answers, each with the optimum that theory gives, or the signs of its gradient."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.lab import _theory as theory
from alignkit.lab._tabular import Pairs, Population, Revisions, Texts, Thumbs
from alignkit.objectives import Objective, make


def _table(*values: float | list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


REF = _table(0.35, 0.25, 0.2, 0.15, 0.05)
LOG_REF = REF.log()
MU = _table(0.1, 0.3, 0.2, 0.25, 0.15)  # who draws the answers; not the reference
REWARD = _table(1.0, 0.2, -0.5, 0.0, 2.0)
WINS = theory.bradley_terry(REWARD)
CYCLE = _table(  # win rates that no reward explains: 0 beats 1 beats 2 beats 0
    [0.5, 0.9, 0.3, 0.8, 0.6],
    [0.1, 0.5, 0.7, 0.55, 0.95],
    [0.7, 0.3, 0.5, 0.2, 0.4],
    [0.2, 0.45, 0.8, 0.5, 0.99],
    [0.4, 0.05, 0.6, 0.01, 0.5],
)
REVISE = _table([0.5, 0.3, 0.2], [0.2, 0.1, 0.7], [0.3, 0.6, 0.1], [0.4, 0.3, 0.3])  # row 0 answers, 1 + j revises j
DATA = _table(0.4, 0.3, 0.15, 0.1, 0.05)
ALIGNED = _table(0.3, 0.02, 0.4, 0.1, 0.05).log()
THUMBS_UP = _table(0.9, 0.3, 0.45, 0.7, 0.1)
FLIP = 0.2  # share of flipped labels

CLEAN = Pairs(ref=REF, mu=MU, preference=WINS, scores=REWARD)
NOISY = Pairs(ref=REF, mu=MU, preference=theory.flipped(WINS, FLIP))
CYCLIC = Pairs(ref=REF, mu=MU, preference=CYCLE)


@dataclass(frozen=True)
class Case:
    """An objective on a population, and the log-probabilities of the optimum that theory gives."""

    objective: Objective
    population: Population
    optimum: Tensor


@dataclass(frozen=True)
class Direction:
    """An objective without an optimum, and whether descent raises the log-probability of an answer."""

    objective: Objective
    population: Population
    rises: Mapping[int, bool]


def with_optimum() -> list[Case]:
    """What we can check; an objective that is absent states no optimum that we can compute."""
    return [*_dpo_family(), *_preference_probabilities(), *_texts()]


def _dpo_family() -> list[Case]:
    def tilted(scale: float) -> Tensor:
        return theory.tilted(LOG_REF, scale * REWARD)

    return [
        Case(make("dpo", beta=0.3), CLEAN, tilted(1 / 0.3)),
        Case(make("hdpo", alpha=0.8, beta=0.5), CLEAN, theory.tilted(LOG_REF / 0.8, REWARD / (0.8 * 0.5))),
        Case(make("hdpo", alpha=1.2, beta=0.5), CLEAN, theory.tilted(LOG_REF / 1.2, REWARD / (1.2 * 0.5))),
        Case(make("mmpo", gamma=0.3, beta=0.1), CLEAN, tilted(0.3 / 0.1)),
        Case(make("napo", q=0.3, beta=1), CLEAN, tilted(1 / (1 - 0.3))),
        Case(make("napo", q=0.7, beta=1), CLEAN, tilted(1 / (1 - 0.7))),
        Case(make("napo", q="dynamic", alpha=0.5, beta=1), CLEAN, tilted(1 / (1 - _dynamic_q(0.5)))),
        Case(make("robust_dpo", form="unbiased", flip_rate=FLIP, beta=0.5), NOISY, tilted(1 / 0.5)),
        _conservative(),
    ]


def _dynamic_q(alpha: float) -> float:
    """NaPO's q where it comes to rest on clean pairs with beta = 1."""
    margins = CLEAN.batch(REWARD[None])
    mean_margin = (CLEAN.weights() * (margins.chosen - margins.rejected)).sum()
    return theory.napo_dynamic_q(mean_margin, alpha)


def _conservative() -> Case:
    """Two answers: for more, cDPO's logit((1 - e) P + e (1 - P)) need not be a difference of rewards."""
    ref, mu, wins = REF[[4, 0]] / REF[[4, 0]].sum(), MU[[4, 0]] / MU[[4, 0]].sum(), WINS[[4, 0]][:, [4, 0]]
    margin = theory.flipped(wins[0], FLIP).logit() / 0.5
    objective = make("robust_dpo", form="conservative", flip_rate=FLIP, beta=0.5)
    return Case(objective, Pairs(ref=ref, mu=mu, preference=wins), theory.tilted(ref.log(), -margin))


def _preference_probabilities() -> list[Case]:
    cycle = CYCLE[:3, :3]
    revisions = Revisions(ref=REVISE, mu=MU[:3] / MU[:3].sum(), preference=cycle)
    return [
        Case(make("ipo", tau=0.1), CYCLIC, theory.ipo(REF, MU, CYCLE, 0.1)),
        Case(make("ipo", tau=1, normalize="token"), CYCLIC, theory.ipo(REF, MU, CYCLE, 1)),
        Case(make("srpo", alpha=0.5, beta=0.5), revisions, theory.srpo(REVISE, cycle, 0.5)),
        Case(make("srpo", alpha=0.8, beta=0.1, gen_scale=0.25), revisions, theory.srpo(REVISE, cycle, 0.1)),
    ]


def _texts() -> list[Case]:
    texts = Texts(data=DATA, aligned_logps=ALIGNED)
    return [
        Case(make("nll"), texts, DATA.log()),
        *(Case(make("mixce", eta=eta), texts, theory.mixce(DATA, eta)) for eta in (0.1, 0.5, 0.9, 1)),
        Case(make("poft", beta=1), texts, theory.poft(DATA, ALIGNED, 1, 0)),
        Case(make("poft", beta=2, gamma=-0.5), texts, theory.poft(DATA, ALIGNED, 2, -0.5)),
    ]


def without_optimum() -> list[Direction]:
    """NaPO at q = 1 and KTO: the policy goes where the gradient points, for ever."""
    thumbs = Thumbs(ref=REF, mu=MU, share=THUMBS_UP)
    best, worst = int(REWARD.argmax()), int(REWARD.argmin())  # win, or lose, against every other answer
    return [
        Direction(make("napo", q=1, beta=1), CLEAN, rises={best: True, worst: False}),
        *(
            Direction(
                make("kto", beta=0.1, desirable_weight=desirable, undesirable_weight=undesirable),
                thumbs,
                rises={y: up > undesirable / (desirable + undesirable) for y, up in enumerate(THUMBS_UP.tolist())},
            )
            for desirable, undesirable in ((1, 1), (1, 3), (4, 1))
        ),
    ]

"""Batches to try objectives on, one per shape, in float64; numbers written out so that no random generator matters."""

from torch import Tensor, float64, tensor

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


def numbers(*values: float) -> Tensor:
    return tensor(values, dtype=float64)


PAIRS = PairLogps(
    chosen=numbers(-12.5, -30.25, -7.0, -45.0),
    rejected=numbers(-15.0, -28.5, -7.5, -40.0),
    ref_chosen=numbers(-14.0, -29.0, -7.0, -50.5),
    ref_rejected=numbers(-13.25, -30.0, -8.0, -41.0),
    chosen_length=tensor([8, 20, 5, 40]),
    rejected_length=tensor([10, 16, 4, 25]),
    columns={
        "score_chosen": tensor([8, 6, 9, 5]),  # integers, as data sets have them
        "score_rejected": tensor([4, 6, 7, 4]),
        "flip": numbers(0.0, 0.1, 0.25, 0.4),
    },
)

IMPLICIT_REWARDS = numbers(0.75, -0.625, 0.0, 2.75), numbers(-0.875, 0.75, 0.25, 0.5)  # of PAIRS, log pi/ref times 0.5

TOKENS = TokenLogps(
    logps=numbers(-0.5, -2.0, -0.125, -4.0, -1.5, -0.25, -3.0, -0.75, -1.0, -2.5, -0.0625, -9.0).view(3, 4),
    mask=tensor([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]], dtype=bool),  # the last text has no trained token
    columns={"aligned_logps": numbers(-1.25, -0.5, -2.0)},
)

UNPAIRED = UnpairedLogps(
    policy=PAIRS.chosen,
    ref=PAIRS.ref_chosen,
    desirable=tensor([True, False, True, False]),
    kl=numbers(0.75).squeeze(),
)

REVISIONS = RevisionLogps(
    chosen=PAIRS.chosen,
    rejected=PAIRS.rejected,
    chosen_given_rejected=numbers(-11.0, -29.5, -6.5, -52.0),
    rejected_given_rejected=numbers(-9.0, -20.0, -5.0, -30.0),
    chosen_given_chosen=numbers(-8.0, -21.0, -4.5, -33.0),
    rejected_given_chosen=numbers(-16.0, -27.0, -8.5, -43.0),
    ref_chosen=PAIRS.ref_chosen,
    ref_rejected=PAIRS.ref_rejected,
    ref_chosen_given_rejected=numbers(-12.0, -30.0, -7.0, -51.0),
    ref_rejected_given_rejected=numbers(-9.5, -19.0, -5.5, -31.0),
    ref_chosen_given_chosen=numbers(-8.5, -22.0, -4.0, -34.0),
    ref_rejected_given_chosen=numbers(-14.0, -26.0, -8.0, -42.5),
)


REWARDS = RewardScores(
    scores=numbers(1.5, 0.25, -0.5, 0.75, 2.0, 2.0, -1.25, -3.0).view(4, 2),
    columns={
        "margin": numbers(0.5, 0.0, -0.25, 1.0),
        "score_chosen": tensor([8, 6, 9, 5]),
        "score_rejected": tensor([4, 6, 7, 4]),
    },
)

RANKINGS = RewardScores(
    scores=numbers(1.5, 0.25, 0.5, -1.0, 0.5, -0.75, 9.0, 9.0, 0.0, 0.0, -2.0, 9.0, 3.0, 9.0, 9.0, 9.0).view(4, 4),
    mask=tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool),  # the last compares nothing
)


GROUPS = GroupLogps(
    logps=-numbers(*[0.5, 2.0, 0.125, 4.0, 1.5, 0.25, 3.0, 0.75, 1.0, 2.5, 0.0625, 9.0] * 3).view(4, 3, 3),
    old_logps=-numbers(*[0.25, 2.125, 0.125, 3.5, 2.0, 0.5, 3.0, 1.0, 1.25, 2.0, 0.25, 8.0] * 3).view(4, 3, 3),
    ref_logps=-numbers(*[0.75, 1.75, 0.25, 3.0, 1.0, 0.5, 2.0, 0.5, 2.0, 2.25, 0.5, 7.0] * 3).view(4, 3, 3),
    mask=tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1]] * 2, dtype=bool).view(4, 3, 3),
    rewards=numbers(1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1).view(4, 3),  # two prompts mixed, one all wrong, one all right
)


def pairs_with_margins(*margins: float, **columns: Tensor) -> PairLogps:
    """Pairs whose h = log pi(w)/ref(w) - log pi(l)/ref(l) is given; the chosen answer alone has moved."""
    base = numbers(*[-8.0] * len(margins))
    return PairLogps(
        chosen=base + numbers(*margins), rejected=base, ref_chosen=base, ref_rejected=base, columns=columns
    )


EVERY = (PAIRS, TOKENS, UNPAIRED, REVISIONS, REWARDS, GROUPS)
SAMPLES: dict[type[Batch], Batch] = {type(batch): batch for batch in EVERY}


def sample(objective: Objective) -> Batch:
    """The sample of the shape that `objective` reads."""
    return SAMPLES[objective.batch]

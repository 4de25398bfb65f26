"""Bradley-Terry: the reward model that most pipelines train, with an optional margin and centring."""

from dataclasses import dataclass

import torch.nn.functional as F

from alignkit.objectives._base import Loss, RewardObjective
from alignkit.objectives._batches import RewardScores
from alignkit.objectives._ops import ranking_loss


@dataclass(frozen=True, kw_only=True)
class BradleyTerry(RewardObjective):
    """-log sigmoid(r_c - r_r - margin) + centering * (r_c + r_r)^2

    Optimum without margin and centring: differences of rewards are the log-odds of the preferences; each prompt's
    level is free, and centring holds it near 0. Where preferences never contradict each other there is none: the
    differences grow without bound.
    Source: Ouyang et al. 2022, arXiv:2203.02155, equation 1; margin: Touvron et al. 2023, arXiv:2307.09288, equation 2;
    centring: Eisenstein et al. 2023, arXiv:2312.09244. All three as in TRL's RewardTrainer.
    """

    margin: bool = False  # ask for a reward that is better by the data column `margin` (a reward, any sign)
    centering: float = 0.0  # weight of the squared sum of both rewards, >= 0; 0.01 is usual

    def __post_init__(self) -> None:
        if not 0 <= self.centering < float("inf"):
            raise ValueError(f"centering = {self.centering} must be a finite number from 0 up; 0 switches it off")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("margin",) if self.margin else ()

    def __call__(self, batch: RewardScores) -> Loss:
        chosen, rejected = batch.pairs()
        difference = chosen - rejected
        if self.margin:
            difference = difference - batch.column("margin", like=batch.scores)
        terms = -F.logsigmoid(difference)
        if self.centering:
            terms = terms + self.centering * (chosen + rejected) ** 2
        return ranking_loss(terms, batch)

"""One TRL subclass per batch shape: the objective replaces the loss, everything else is TRL's."""

from alignkit.trainers._interruption import Interrupted
from alignkit.trainers._nonfinite import Diverged
from alignkit.trainers._objective import ObjectiveTrainer
from alignkit.trainers._saving import NotSaved
from alignkit.trainers.group import GroupTrainer
from alignkit.trainers.pair import PairTrainer
from alignkit.trainers.revision import RevisionTrainer
from alignkit.trainers.reward import RewardTrainer
from alignkit.trainers.token import TokenTrainer
from alignkit.trainers.unpaired import UnpairedTrainer

__all__ = [
    "Diverged",
    "GroupTrainer",
    "Interrupted",
    "NotSaved",
    "ObjectiveTrainer",
    "PairTrainer",
    "RevisionTrainer",
    "RewardTrainer",
    "TokenTrainer",
    "UnpairedTrainer",
]

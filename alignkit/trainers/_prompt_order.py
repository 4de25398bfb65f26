"""The order in which prompts are answered."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from trl.trainer.utils import RepeatSampler


class PromptOrder(RepeatSampler):
    """TRL's order, told by the number of the epoch: TRL's own starts over where a run is resumed in a later one."""

    seed: int

    def __init__(self, *args: Any, epoch: Callable[[], int], **kwargs: Any) -> None:
        """TRL's arguments. `epoch` is asked when a pass begins."""
        super().__init__(*args, **kwargs)
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(self.epoch()):  # each pass before this one took a permutation
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()

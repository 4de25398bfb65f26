"""What a recipe says about answers that are drawn from its model: the `sample:` section."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Engine = Literal["transformers", "vllm"]
Unfinished = Literal["keep", "drop"]
Use = Literal["train", "eval"]


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """Answers that `alignkit sample` draws from the recipe's model, and which of them are kept."""

    prompts: Use = "train"  # whose prompts are answered: those of data.train or of data.eval
    limit: int | None = None  # prompts, from the start; unset: all
    n: int = 8  # answers to each prompt
    temperature: float = 1.0  # of the draws, above 0
    max_new_tokens: int = 256  # tokens of an answer at most
    batch_size: int = 8  # answers generated side by side; vllm decides by itself
    seed: int = 0  # of the draws
    engine: Engine = "transformers"  # vllm where it is installed
    truncated: Unfinished = "drop"  # keep: answers without an end within max_new_tokens may be trained on
    min_score: float | None = None  # of an answer that is kept for supervised training; unset: the best of each prompt

    def __post_init__(self) -> None:
        for name in ("limit", "n", "max_new_tokens", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature = {self.temperature} must be above 0: without chance all answers are the same"
            )
        choices = {"prompts": Use, "engine": Engine, "truncated": Unfinished}
        for name, choice in choices.items():
            if getattr(self, name) not in get_args(choice):
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} is not known; choose from {', '.join(get_args(choice))}"
                )

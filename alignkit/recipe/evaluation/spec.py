"""The `evaluation:` section of a recipe."""

from dataclasses import dataclass
from typing import Literal

Format = Literal["text", "json", "value"]
STARTER = "starter"  # the questions that ship, by their name


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """Who judges the checkpoints of a run, and on what."""

    judge: str  # MODEL@URL of an OpenAI-compatible endpoint; MODEL@openai is OpenAI's
    questions: str = STARTER  # a folder in FastChat's layout, a file, a dataset on the Hub, or the 16 that ship
    limit: int | None = None  # questions of each category, from the start; null: all
    max_new_tokens: int = 1024  # tokens of an answer at most
    batch_size: int = 16  # answers generated side by side
    judge_format: Format = "text"  # json: the endpoint enforces an object of explanation and rating; value: of a rating
    key_variable: str | None = None  # environment variable with the endpoint's key
    concurrency: int = 8  # requests at a time

    def __post_init__(self) -> None:
        model, _, url = self.judge.rpartition("@")
        if not model or not url:
            raise ValueError(f"judge = {self.judge!r} names no endpoint; write judge: MODEL@http://localhost:8000/v1")
        for name in ("limit", "max_new_tokens", "batch_size", "concurrency"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")

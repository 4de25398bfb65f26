"""The `summary:` section of a recipe."""

from dataclasses import dataclass

ANSWERS = 4


@dataclass(frozen=True, kw_only=True)
class SummarySpec:
    """What summary.html shows of a run, beside its curves, recipe and data."""

    answers: int | None = None  # held-out prompts answered before and after; null: 4, or 0 where push_to_hub shows them
    max_new_tokens: int = 64  # tokens of such an answer at most

    def __post_init__(self) -> None:
        if self.answers is not None and self.answers < 0:
            raise ValueError(f"answers = {self.answers} must be 0 or more; 0 switches them off")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens = {self.max_new_tokens} must be at least 1; answers: 0 switches them off")

    def count(self, published: bool) -> int:
        """Prompts to answer. Held-out texts are published only if somebody asked for them."""
        return (0 if published else ANSWERS) if self.answers is None else self.answers

"""The `rl:` section of a recipe."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RLSpec:
    """Answers of other runs to learn from, and answers of this one to keep."""

    samples: str | None = None  # answers to train on in place of drawn ones: JSONL of alignkit sample, or of rl.record
    record: bool = False  # write all answers with rewards and log-probs to samples.jsonl in the output folder

    def __post_init__(self) -> None:
        if self.samples is not None and self.record:
            raise ValueError("record = True has nothing to write where samples are read; keep one of the two")

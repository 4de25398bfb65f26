"""The `data:` section of a recipe: which rows are read, from where, and in what proportion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

from alignkit.data.rated import TIES, Ties
from alignkit.data.revision import RevisionPrompt

Format = Literal["auto", "prompt", "messages", "sharegpt", "alpaca", "implicit", "text"]
FORMATS: tuple[str, ...] = get_args(Format)
REASONING_GYM = "reasoning_gym"  # the source whose rows are tasks of that library


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place that rows come from.

    A path is taken relative to the recipe's folder and wins over a Hub id of the same name. `format` says where the
    conversation is: `prompt` (prompt with completion, or with chosen and rejected), `messages`, `sharegpt`
    (conversations of from and value), `alpaca` (instruction, input, output), `implicit` (inside chosen and rejected)
    or `text`; `auto` finds out from the columns. `source: reasoning_gym` makes `limit` tasks of the kind `name`.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = MappingProxyType({"extra": "forbid"})

    source: str  # a file or folder (JSONL, JSON, CSV, Parquet, Arrow), or the id of a dataset on the Hub
    split: str = "train"  # which split of the dataset is read
    name: str | None = None  # configuration of a Hub dataset that has several
    revision: str | None = None  # commit, tag or branch of a Hub dataset
    format: Format = "auto"  # where a row holds its conversation: auto, prompt, messages, sharegpt, alpaca, ...
    columns: Mapping[str, str] = field(default_factory=dict)  # our name: the name in the file, as in {prompt: question}
    weight: float = 1.0  # rows per epoch as a multiple of the rows there are: 0.5 a seeded half, 2.0 each row twice
    limit: int | None = None  # read only that many rows from the start
    ratings: str | None = None  # a file of numbers that belong to these rows, such as scores for mmpo
    ratings_by: str | None = None  # the column that rows and ratings share, or row: the n-th is the n-th row's
    seed: int | None = None  # of grpo, disco, gvpo, reinforce: task i of source reasoning_gym is drawn from seed + i
    options: Mapping[str, Any] = field(default_factory=dict)  # of grpo, disco, gvpo, reinforce: how hard its tasks are

    @property
    def first_task(self) -> int:
        """Seed of the first task of reasoning_gym."""
        return self.seed or 0

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ValueError("source is empty; write a path or the id of a dataset on the Hub")
        if not self.split.strip():
            raise ValueError("split is empty; write the name of a split, such as train")
        if self.format not in FORMATS:
            near = get_close_matches(str(self.format), FORMATS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"write one of {', '.join(FORMATS)}"
            raise ValueError(f"no format named {self.format!r}; {hint}")
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"weight = {self.weight} must be a positive number; remove the source to leave it out")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit = {self.limit} must be at least 1; remove it to read every row")
        if self.ratings is not None and self.ratings_by is None:
            raise ValueError(
                "ratings need to find their rows; write ratings_by: COLUMN, or ratings_by: row for their order"
            )
        if self.ratings_by is not None and self.ratings is None:
            raise ValueError("ratings_by has no ratings; write ratings: FILE or remove it")
        self._check_tasks()

    def _check_tasks(self) -> None:
        if self.source != REASONING_GYM:
            for key in ("seed", "options"):
                if getattr(self, key):
                    raise ValueError(f"{key} is for source: {REASONING_GYM}, not {self.source}; remove it")
            return
        if self.name is None:
            raise ValueError(f"name is missing, the kind of task of {REASONING_GYM}; write name: chain_sum")
        if self.limit is None:
            raise ValueError(f"limit is missing: {REASONING_GYM} has no end of tasks; write limit: 1000")
        if self.first_task < 0:
            raise ValueError(f"seed = {self.seed} must not be negative; write 0 or more")
        for key in ("revision", "ratings"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} has no meaning for tasks of {REASONING_GYM}; remove it")


def as_share(name: str, value: float | str | None) -> float | None:
    """The number that `1%` or `0.01` stands for."""
    if value is None:
        return None
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{name} = {value!r} is no share of the examples; write 1% or 0.01") from None
    if not 0 <= share < 1:
        raise ValueError(f"{name} = {value} must be from 0 up to, not including, 1; write 1% or 0.01 for one percent")
    return share


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a run trains and evaluates on. The same spec gives the same rows in the same order in every process."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = MappingProxyType({"extra": "forbid"})

    train: tuple[Source, ...]  # sources of the training set, mixed by their weights and shuffled
    eval: tuple[Source, ...] = ()  # sources of the evaluation set, in order
    holdout: float = 0.0  # fraction of the training rows set aside for evaluation, whole prompts at a time
    seed: int = 0  # of the shuffle, the hold-out, the weights and the label noise
    on_bad_rows: Literal["error", "drop"] = "error"  # stop at rows that cannot be used, or drop and count them
    ties: Ties = "error"  # of answers with equal scores: stop, drop the comparison, or half: of mmpo_reward and mmpo
    streaming: bool = False  # read while training, for data that do not fit the disk; weights become probabilities
    label_noise: float = 0.0  # for studies: fraction of training preferences turned round
    normalize_scores: Literal["none", "zscore"] = (
        "none"  # of mmpo: zscore for mean 0 and deviation 1 over training rows
    )
    teacher_scores: str | None = None  # of poft: the Parquet file that alignkit score-teachers wrote for these rows
    revision_prompt: str | None = None  # of srpo: text with {prompt} and {draft} that asks for a better answer
    max_truncated: float | str | None = None  # stop if more examples are longer than train.max_length: 1% or 0.01
    max_lost_end: float | str | None = None  # stop if more lack the token that ends an answer: 1% or 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", tuple(self.train))
        object.__setattr__(self, "eval", tuple(self.eval))
        if not self.train:
            raise ValueError("train has no sources; write train: [{source: FILE}]")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout = {self.holdout} must be a fraction from 0 up to, not including, 1; 0.1 is 10 %")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed} must not be negative; write 0 or more")
        if self.on_bad_rows not in ("error", "drop"):
            raise ValueError(f"on_bad_rows = {self.on_bad_rows!r} is not known; write error or drop")
        if self.ties not in TIES:
            raise ValueError(f"ties = {self.ties!r} is not known; write error, drop or half")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise = {self.label_noise} must be a fraction from 0 to 1; 0.25 turns a quarter")
        if self.revision_prompt is not None:
            RevisionPrompt(template=self.revision_prompt)
        for name in ("max_truncated", "max_lost_end"):
            object.__setattr__(self, name, as_share(name, getattr(self, name)))
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        if self.holdout and self.eval:
            raise ValueError("holdout and eval are both given; keep the one that the evaluation is to use")
        if self.normalize_scores not in ("none", "zscore"):
            raise ValueError(f"normalize_scores = {self.normalize_scores!r} is not known; write none or zscore")
        for name in ("holdout", "label_noise", "teacher_scores", "normalize_scores"):
            if self.streaming and getattr(self, name) not in (0, None, "none"):
                raise ValueError(f"{name} needs the whole data set, which streaming never sees; remove one of the two")
        for source in self.eval:
            if source.weight != 1:
                raise ValueError(f"eval: weight = {source.weight} of {source.source} is for training; remove it")
            self._refuse_shared_tasks(source)

    def _refuse_shared_tasks(self, held_out: Source) -> None:
        """Neighbouring seeds share all tasks but one: task i of seed s is task 0 of seed s + i."""
        for source in self.train:
            if held_out.source != REASONING_GYM or (source.source, source.name) != (REASONING_GYM, held_out.name):
                continue
            end = source.first_task + (source.limit or 0)
            if source.first_task < held_out.first_task + (held_out.limit or 0) and held_out.first_task < end:
                raise ValueError(
                    f"eval: task i of {REASONING_GYM} is drawn from seed + i, so that training and evaluation share "
                    f"tasks of {source.name}; write seed: {end} for evaluation"
                )

"""Scores of a recipe's rows by aligned models, computed once and kept."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import PreTrainedTokenizerBase

from alignkit.data.errors import DataError
from alignkit.data.load import Data, load_data
from alignkit.data.sequences import Treatment
from alignkit.data.table import SHOWN
from alignkit.data.teachers import COLUMN, Teacher, TeacherScores, answer_tokens, answers_only, key_of, write_scores
from alignkit.models.cache import cache_folder, sha256
from alignkit.models.load import load_config, load_model, load_tokenizer, locate
from alignkit.models.precision import compute_dtype, trainer_precision
from alignkit.models.scoring import Scored, in_batches, mean_logps
from alignkit.models.spec import ModelSpec
from alignkit.recipe.inspection import training_tokenizer, treatment_of
from alignkit.recipe.schema import Recipe

Progress = Callable[[str, int, int], None]  # (teacher, rows that are scored, rows)
WRITTEN = 256  # rows between two writes: what a killed run loses at most


def score_teachers(recipe: Recipe, output: Path, *, batch_tokens: int, progress: Progress) -> TeacherScores:
    """Score the answers of a recipe by its teachers and write them to `output`.

    What is scored is kept in the cache by the content of rows, teacher, template, precision and truncation: a killed
    run goes on where it was, and rows that other recipes share are not scored again. Several processes share the rows.

    Raises:
        ValueError: no teachers, rows that cannot be scored, or scores that are no number; the message names the row.
    """
    data = load_unscored(recipe)
    check_teachers(recipe.teachers)
    treatment = scored_treatment(recipe, data)
    rows = {key_of(row): row for part in (data.train, data.eval) if part is not None for row in part}
    conversational = any(source.conversational for source in data.report)
    scores = {}
    for spec in recipe.teachers:
        run = Scoring(spec=spec, rows=rows, treatment=treatment, conversational=conversational)
        scores[run.teacher] = run(batch_tokens, progress)
    state = PartialState()
    if state.is_main_process:
        places = {key: row["place"] for key, row in rows.items()}
        write_scores(output, places, scores, treatment, data.fingerprints)
    state.wait_for_everyone()
    return TeacherScores.read(output)


def joined_scores(recipe: Recipe) -> Data:
    """The data of a recipe with the scores of `data.teacher_scores`, after all checks.

    Raises:
        ValueError: no file, or one made for other rows, teachers, templates or lengths.
    """
    if recipe.data.teacher_scores is None:
        raise ValueError("the recipe names teachers and not their scores; write data.teacher_scores: FILE.parquet")
    scores = TeacherScores.read(recipe.data.teacher_scores)
    data = load_unscored(recipe)
    treatment = scored_treatment(recipe, data)
    conversational = any(source.conversational for source in data.report)
    asked = [
        Scoring(spec=spec, rows={}, treatment=treatment, conversational=conversational) for spec in recipe.teachers
    ]
    scores.check(treatment, [one.named(None, None if one.spec.precision == "auto" else one.precision) for one in asked])
    return scores.joined(data)


def load_unscored(recipe: Recipe) -> Data:
    """Rows of a recipe without the column of scores, which need not be there yet."""
    columns = [name for name in recipe.objective.columns if name != COLUMN]
    if len(columns) == len(recipe.objective.columns):
        raise ValueError(f"this objective reads no {COLUMN}, and teachers give nothing else; choose poft")
    if recipe.data.streaming:
        raise DataError("teachers score the whole data set, which streaming never sees; remove data.streaming")
    return load_data(recipe.data, "tokens", columns, recipe.base)


def refuse_unsaid_turns(recipe: Recipe, data: Data) -> None:
    """TRL trains on every token of a conversation; scores are of answers, so the recipe has to say which it compares.

    Raises:
        ValueError: rows of messages, and no word about the turns that are trained on.
    """
    reads = COLUMN in recipe.objective.columns
    if reads and "messages" in (data.train.column_names or []) and "assistant_only_loss" not in recipe.train:
        raise ValueError(
            f"the rows are messages, and {COLUMN} are of answers; write train.assistant_only_loss: true to average "
            "over the assistant's turns, false over every token as the authors of PoFT do"
        )


def check_teachers(teachers: Sequence[ModelSpec]) -> None:
    if not teachers:
        raise ValueError("the recipe names no teachers; write teachers: [{path: HUB_ID_OR_FOLDER}]")
    for number, spec in enumerate(teachers):
        if spec in teachers[:number]:
            raise ValueError(f"teachers: {spec.path} is there twice; remove one")


def scored_treatment(recipe: Recipe, data: Data) -> Treatment:
    """How rows are cut and masked for teachers: as for training, answers only."""
    # on the device of the run: a configuration for another one would take the others' processes from it
    options = {**recipe.train, **trainer_precision(recipe.model), "report_to": "none"}
    config = recipe.config_class(**{"output_dir": "runs", **options})
    return answers_only(treatment_of(config), data.train)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """One teacher and the rows it scores, by key."""

    spec: ModelSpec
    rows: Mapping[str, Mapping[str, Any]]
    treatment: Treatment
    conversational: bool

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """With the template that marks answers where TRL knows one, as training takes it."""
        try:
            tokenizer: Any = load_tokenizer(self.spec, require_chat_template=self.conversational)
        except ValueError as error:
            raise ValueError(f"teacher {self.spec.path}: {error}") from None
        try:
            return training_tokenizer(tokenizer, self.treatment)
        except ValueError:
            return tokenizer  # its answers are found by what the template puts before and after them

    @cached_property
    def teacher(self) -> Teacher:
        return self.named(version_of(self.spec), self.precision)

    @property
    def precision(self) -> str:
        return str(compute_dtype(self.spec)).removeprefix("torch.")

    def named(self, version: str | None, precision: str | None) -> Teacher:
        """The teacher under what identifies it; None for what is not to be compared."""
        folder = Path(self.spec.path).expanduser()
        template = str(self.tokenizer.chat_template) if self.conversational else ""
        return Teacher(
            path=folder.name if folder.is_dir() else self.spec.path,
            version=version,
            tokenizer=Path(self.spec.tokenizer).name if self.spec.tokenizer else "",
            template=hashlib.sha256(template.encode()).hexdigest()[:32] if template else "",
            precision=precision,
        )

    @property
    def folder(self) -> Path:
        content = json.dumps([asdict(self.teacher), asdict(self.treatment)])
        return cache_folder() / "teachers" / hashlib.sha256(content.encode()).hexdigest()[:32]

    def __call__(self, batch_tokens: int, progress: Progress) -> dict[str, float]:
        """Scores by key: those that are kept, and the rest computed and kept."""
        state = PartialState()
        # what the first process finds, for all: another may look when somebody has written more, or on another disk
        kept: dict[str, float] = broadcast_object_list([read_parts(self.folder)])[0]
        missing = [key for key in self.rows if key not in kept][state.process_index :: state.num_processes]
        done = len(self.rows) - len(missing)
        progress(self.teacher.path, done, len(self.rows))
        own: dict[str, float] = {}
        for part in self.computed(missing, batch_tokens):
            write_part(self.folder, part)
            own |= part
            progress(self.teacher.path, done + len(own), len(self.rows))
        for scores in gather_object([own]):
            kept |= scores
        return {key: kept[key] for key in self.rows}

    def computed(self, keys: Sequence[str], batch_tokens: int) -> Iterator[dict[str, float]]:
        """Scores of rows, some at a time."""
        if not keys:
            return
        texts = self.tokenized(keys)
        model = load_model(self.spec, frozen=True).to(PartialState().device).eval()
        part: dict[str, float] = {}
        for batch in in_batches(model, [ids for ids, _ in texts], batch_tokens):
            scores = mean_logps(model, [texts[number] for number in batch], self.tokenizer.pad_token_id)
            for number, score in zip(batch, scores, strict=True):
                if not np.isfinite(score):
                    place = self.rows[keys[number]]["place"]
                    raise DataError(
                        f"{place}: {self.spec.path} gives it the score {score}; try teachers with precision: float32"
                    )
                part[keys[number]] = score
            if len(part) >= WRITTEN:
                yield part
                part = {}
        yield part

    def tokenized(self, keys: Sequence[str]) -> list[Scored]:
        cut = [answer_tokens(self.rows[key], self.tokenizer, self.treatment).cut(self.treatment) for key in keys]
        empty = [self.rows[key]["place"] for key, one in zip(keys, cut, strict=True) if not any(one.trained[1:])]
        if empty:
            raise DataError(
                f"{self.spec.path} reads no token of the answer in {len(empty)} rows within max_length = "
                f"{self.treatment.max_length}: {', '.join(empty[:SHOWN])}; raise train.max_length or take them out"
            )
        return [(np.array(one.ids, dtype=np.int32), np.array(one.trained, dtype=bool)) for one in cut]


def version_of(spec: ModelSpec) -> str | None:
    """The commit of a model from the Hub; a digest of the files of one on this machine, adapter and all."""
    location = locate(spec)
    folders = [Path(path) for path in (location.model, location.adapter) if path and Path(path).is_dir()]
    if not folders:
        return getattr(load_config(location), "_commit_hash", None) or spec.revision
    files = sorted(file for folder in folders for file in folder.iterdir() if file.suffix in (".safetensors", ".json"))
    digests = [f"{file.name} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:32]


def read_parts(folder: Path) -> dict[str, float]:
    scores: dict[str, float] = {}
    for part in sorted(folder.glob("*.parquet")):
        table = pq.read_table(part)
        scores.update(zip(table.column("key").to_pylist(), table.column("score").to_pylist(), strict=True))
    return scores


def write_part(folder: Path, scores: Mapping[str, float]) -> None:
    """Append a part, which appears under its name only when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns()}-{os.getpid()}"
    partial = folder / f"{name}.partial"
    pq.write_table(pa.table({"key": list(scores), "score": list(scores.values())}), partial)
    partial.rename(folder / f"{name}.parquet")

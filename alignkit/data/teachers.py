"""Scores that aligned models gave to answers, kept in a Parquet file and joined to the rows by their content.

| column            | what                                                                         |
|-------------------|------------------------------------------------------------------------------|
| `key`             | digest of the row's conversation                                             |
| `place`           | where the row was read, for messages                                         |
| `aligned_logps`   | mean over the models of their mean log-probability per token, nats           |
| one per model     | its mean log-probability per token, nats                                     |

The file's metadata say who scored, and how the rows were cut.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from alignkit.data.errors import DataError
from alignkit.data.files import short
from alignkit.data.load import Data
from alignkit.data.sequences import TokenSequence, Treatment, sequences, shared_length, tokenized
from alignkit.data.sources import digest_of
from alignkit.data.table import SHOWN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMN = "aligned_logps"
METADATA = b"alignkit"
CONTENT = ("messages", "prompt", "completion", "text")
AGAIN = "run alignkit score-teachers again"


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Who scored: what a change of which makes other scores."""

    path: str  # as the recipe names it; of a folder its name, as folders lie elsewhere on other machines
    version: str | None = None  # the commit of a model from the Hub, the digest of a folder's files
    precision: str | None = None  # of the computation
    tokenizer: str = ""  # where it is from, empty if from the model
    template: str = ""  # digest of the chat template, empty without one

    def differs_from(self, other: Teacher) -> str:
        """The first field that two teachers differ in, empty where none does; what is None was not looked up."""
        ours, theirs = asdict(self), asdict(other)
        known = [name for name in ours if None not in (ours[name], theirs[name])]
        return next((name for name in known if ours[name] != theirs[name]), "")


@dataclass(frozen=True, kw_only=True)
class TeacherScores:
    """A file of scores."""

    path: Path
    scores: Mapping[str, float]  # by key
    teachers: tuple[Teacher, ...]
    treatment: Treatment
    datasets: Mapping[str, str]  # fingerprints of the sources that were scored

    @classmethod
    def read(cls, path: str | Path) -> TeacherScores:
        """Read and check a file. Raises DataError."""
        path = Path(path)
        if not path.is_file():
            raise DataError(f"teacher_scores = {path} does not exist; make it with alignkit score-teachers RECIPE")
        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[METADATA])
            columns = {name: table.column(name).to_pylist() for name in ("key", "place", COLUMN)}
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} was not written by alignkit score-teachers: {short(error)}") from None
        for place, score in zip(columns["place"], columns[COLUMN], strict=True):
            if score is None or not np.isfinite(score):
                raise DataError(f"{path}: the score of {place} is {score}; {AGAIN}")
        return cls(
            path=path,
            scores=dict(zip(columns["key"], columns[COLUMN], strict=True)),
            teachers=tuple(Teacher(**one) for one in about["teachers"]),
            treatment=Treatment(**about["treatment"]),
            datasets=about["datasets"],
        )

    def check(self, treatment: Treatment, teachers: Sequence[Teacher]) -> None:
        """Refuse scores of answers that were cut otherwise, or by other models than the recipe's, if it names any.

        Raises:
            DataError: says what differs.
        """
        ours, theirs = asdict(treatment), asdict(self.treatment)
        for name, value in ours.items():
            if theirs[name] != value:
                raise DataError(f"{self.path} was made with {name} = {theirs[name]}, training has {value}; {AGAIN}")
        if teachers and len(teachers) != len(self.teachers):
            raise DataError(f"{self.path} holds {len(self.teachers)} teachers, the recipe has {len(teachers)}; {AGAIN}")
        for one, other in zip(teachers, self.teachers, strict=False):
            if name := one.differs_from(other):
                raise DataError(f"{self.path} was made with another {name} of {other.path} than the recipe's; {AGAIN}")

    def joined(self, data: Data) -> Data:
        """The data with the column of scores. Raises DataError naming rows without one."""
        parts = {name: self._with_column(part) for name, part in (("train", data.train), ("eval", data.eval)) if part}
        return replace(data, **parts, fingerprints={**data.fingerprints, self.path.name: digest_of([self.path])})

    def _with_column(self, dataset: Dataset) -> Dataset:
        keys = [key_of(row) for row in dataset]
        missing = [place for place, key in zip(dataset["place"], keys, strict=True) if key not in self.scores]
        if missing:
            shown = ", ".join(dict.fromkeys(missing[:SHOWN]))
            raise DataError(
                f"{self.path} has no score for {len(missing)} of {len(dataset)} rows: {shown}. It was made for "
                f"{', '.join(self.datasets)}, which are other data or have changed; {AGAIN}"
            )
        return dataset.add_column(COLUMN, [self.scores[key] for key in keys])


def answers_only(treatment: Treatment, dataset: Dataset) -> Treatment:
    """How teachers read: they score answers, of messages every turn of the assistant, also where training averages
    over the prompt too."""
    return replace(treatment, completion_only=True, assistant_only="messages" in dataset.column_names)


def answer_tokens(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, treatment: Treatment) -> TokenSequence:
    """A row as a teacher reads it. Where no mark in the template says what the assistant speaks, an answer is what
    follows the start that the template asks for one with, to the end of its turn."""
    if not treatment.assistant_only or re.search(r"\{%-?\s*generation\s*-?%\}", str(tokenizer.chat_template)):
        return sequences(row, tokenizer, treatment)[0]
    messages = row["messages"]
    ids, _ = tokenized(messages, tokenizer)
    spoken = np.zeros(len(ids), dtype=bool)
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            asked, _ = tokenized(messages[:number], tokenizer, asks=True)
            said, _ = tokenized(messages[: number + 1], tokenizer)
            spoken[shared_length(asked, ids) : shared_length(said, ids)] = True
    return TokenSequence(name="messages", ids=ids, trained=spoken.tolist())


def write_scores(
    path: Path,
    rows: Mapping[str, str],
    scores: Mapping[Teacher, Mapping[str, float]],
    treatment: Treatment,
    datasets: Mapping[str, str],
) -> None:
    """Write a file of scores, whole or not at all: `rows` are places by key, `scores` are by teacher and key."""
    by_teacher = np.array([[found[key] for key in rows] for found in scores.values()])
    names = {f"teacher_{number}": pa.array(column) for number, column in enumerate(by_teacher, start=1)}
    about = {
        "teachers": [asdict(teacher) for teacher in scores],
        "treatment": asdict(treatment),
        "datasets": {portable(label): fingerprint for label, fingerprint in datasets.items()},
    }
    places = [portable(place) for place in rows.values()]
    table = pa.table(
        {"key": list(rows), "place": places, COLUMN: pa.array(by_teacher.mean(axis=0)), **names}
    ).replace_schema_metadata({METADATA: json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial)
    partial.replace(path)


def key_of(row: Mapping[str, Any]) -> str:
    """Digest of what a row says, whatever file it is in."""
    content = [[name, row[name]] for name in CONTENT if name in row]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def portable(place: str) -> str:
    """A place without the folder of this machine that its file is in."""
    return place.rpartition("/")[2] if place.startswith("/") else place

"""Rows of a data set with the scores of their answers beside them, written as they come."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from alignkit.data.errors import BadRow, DataError
from alignkit.data.formats import canonical
from alignkit.data.layouts import Layout, Shape, recognize
from alignkit.data.load import FIRST_ROWS
from alignkit.data.sources import Opened, open_source
from alignkit.data.spec import Source
from alignkit.rewards.model import ModelReward

PART = 256  # rows that are scored and written together: what a killed run loses at most
Progress = Callable[[int], None]  # rows that are written


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was written."""

    rows: int
    answers: int
    truncated: int  # answers whose text was longer than the model reads


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """One data set and the reward model that scores it.

    A pair gets `score_chosen` and `score_rejected`, which mmpo and mmpo_reward read; a ranking `scores`; a single
    answer, or the last message of a conversation, `score`. `truncated` counts the row's answers that were cut. Another
    `name` than score is for rows that hold scores already.
    """

    reward: ModelReward
    version: str  # of the model: what is kept of another one is not continued
    source: Source
    output: Path  # JSONL
    name: str = "score"

    def __call__(self, progress: Progress) -> Summary:
        """Score what is not yet in the output's partial file, and give it its name when all is there.

        Raises:
            DataError: rows that cannot be scored, or a partial file of another model or data set.
        """
        opened = open_source(self.source, Path.cwd())
        layout = layout_of(opened, self.source)
        partial, identity = (self.output.with_name(self.output.name + end) for end in (".partial", ".partial.json"))
        done = kept_rows(partial, identity, self._identity(opened))
        rows = islice(opened.rows(), done, None)
        with partial.open("a", encoding="utf-8") as file:
            while part := list(islice(rows, PART)):
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self.scored(part, layout))
                file.flush()
                done += len(part)
                progress(done)
        partial.replace(self.output)
        identity.unlink()
        return summary(self.output, self.name)

    def scored(self, rows: Sequence[tuple[str, Any]], layout: Layout) -> Iterator[dict[str, Any]]:
        """The rows with their scores."""
        examples = [answers_of(place, row, layout) for place, row in rows]
        prompts = [prompt for prompt, answers in examples for _ in answers]
        found = self.reward.scored(prompts, [answer for _, answers in examples for answer in answers])
        start = 0
        for (place, row), (_, answers) in zip(rows, examples, strict=True):
            scores = found.scores[start : start + len(answers)].tolist()
            if any(score != score or abs(score) == float("inf") for score in scores):
                raise DataError(f"{place}: the model gives the scores {scores}; try --precision float32")
            cut = int(found.truncated[start : start + len(answers)].sum())
            columns = {**named(scores, layout, self.name), "truncated": cut}
            if taken := [column for column in columns if column in row]:
                raise DataError(f"{place} has {taken[0]} already, which would be lost; write --name OTHER")
            yield {**row, **columns}
            start += len(answers)

    def _identity(self, opened: Opened) -> dict[str, Any]:
        limit = self.reward.max_length
        rows = {"data": opened.fingerprint, "limit": self.source.limit, "name": self.name}
        return {"model": self.version, "max_length": limit, **rows}


def layout_of(opened: Opened, source: Source) -> Layout:
    """How the rows hold their answers. Raises DataError."""
    rows = [row for _, row in islice(opened.rows(), FIRST_ROWS) if not isinstance(row, BadRow)]
    if not rows:
        raise DataError(f"{opened.label} has no rows that can be read; give a source that holds at least one")
    names = {source.columns.get(name, name) for name in ("answers", "chosen", "rejected")}
    there = {name for row in rows for name in row} & names
    shape: Shape = "tokens"
    if source.columns.get("answers", "answers") in there:
        shape = "rankings"
    elif len(there) == 2:
        shape = "pairs"
    layout = recognize(rows, source, opened.label, shape, ())
    if layout.format == "text":
        raise DataError(
            f"{opened.label} holds plain texts; an answer is scored behind its prompt: prompt and completion"
        )
    return layout


def answers_of(place: str, row: Any, layout: Layout) -> tuple[Any, list[Any]]:
    """Prompt and answers of a row. DataError names the place of one that has none."""
    try:
        if isinstance(row, BadRow):
            raise row
        (example,) = canonical(row, layout)
    except BadRow as bad:
        raise DataError(f"{place}: {bad}; correct the row, or take it out") from bad
    if "messages" in example:
        return example["messages"][:-1], [example["messages"][-1:]]
    if "answers" in example:
        return example["prompt"], example["answers"]
    return example["prompt"], [example[name] for name in ("chosen", "rejected", "completion") if name in example]


def named(scores: list[float], layout: Layout, name: str) -> dict[str, Any]:
    if layout.shape == "rankings":
        return {f"{name}s": scores}
    if layout.shape == "pairs":
        return dict(zip((f"{name}_chosen", f"{name}_rejected"), scores, strict=True))
    return {name: scores[0]}


def kept_rows(partial: Path, identity: Path, wanted: Mapping[str, Any]) -> int:
    """Rows that a stopped run left; its last line, if it is not whole, is taken away."""
    if partial.exists() and identity.exists():
        if json.loads(identity.read_text(encoding="utf-8")) != wanted:
            raise DataError(
                f"{partial} is of another model, data set or length; remove it, or write to another --output"
            )
        whole = partial.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        partial.write_bytes(whole)
        return whole.count(b"\n")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(b"")
    identity.write_text(json.dumps(wanted), encoding="utf-8")
    return 0


def summary(output: Path, name: str) -> Summary:
    rows = answers = truncated = 0
    with output.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows += 1
            answers += len(row[f"{name}s"]) if f"{name}s" in row else 2 if f"{name}_chosen" in row else 1
            truncated += row["truncated"]
    return Summary(rows=rows, answers=answers, truncated=truncated)

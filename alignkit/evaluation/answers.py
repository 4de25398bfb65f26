"""Answers of models to the questions: FastChat's model_answer/NAME.jsonl."""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from alignkit.evaluation import jsonl
from alignkit.evaluation.errors import EvaluationError
from alignkit.evaluation.prompts import Turns
from alignkit.evaluation.questions import Question, Questions, two_turns
from alignkit.remote import RemoteError

Answers = Mapping[int, tuple[Turns, ...]]  # {question_id: the two answers of each choice}


class Answerer(Protocol):
    """A model that can be asked."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that its answers depend on; other settings, other answers."""
        ...

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, list[Turns] | RemoteError]]:
        """Every question with the answers of each choice, as they come."""
        ...


@dataclass(frozen=True)
class Folder:
    """Where an evaluation lives, laid out as FastChat's data/mt_bench."""

    path: Path

    @property
    def questions(self) -> Path:
        return self.path / "question.jsonl"

    def answers(self, model: str) -> Path:
        return self.path / "model_answer" / f"{model}.jsonl"

    def judgments(self, judge: str, mode: str) -> Path:
        return self.path / "model_judgment" / f"{file_name(judge)}_{'single' if mode == 'single' else 'pair'}.jsonl"

    def ungraded(self, judge: str, mode: str) -> Path:
        """Beside the judgments: what has no value, with the reason."""
        return self.judgments(judge, mode).with_suffix(".ungraded.jsonl")

    def models(self) -> list[str]:
        """Names of the models that have answers here."""
        return sorted(file.stem for file in (self.path / "model_answer").glob("*.jsonl"))


def file_name(name: str) -> str:
    """A model's or judge's name where it is part of a file's: `org/model` becomes `org-model`."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-.") or "model"


def checked_name(name: str) -> str:
    """A model's name. EvaluationError where FastChat's tools would stumble over it."""
    if not name or file_name(name) != name:
        raise EvaluationError(f"{name!r} cannot name a file; write NAME=MODEL, with letters, digits, and . - _ + =")
    if re.fullmatch(r"[\d.eE+-]+", name):
        raise EvaluationError(f"the name {name!r} would be read as a number; write NAME=MODEL")
    return name


def use_questions(folder: Folder, questions: Questions) -> None:
    """Keep the questions beside the answers to them, once for every set that is used here.

    Raises:
        EvaluationError: the folder belongs to questions of another wording under the same ids.
    """
    there = {row.get("question_id"): row for row in jsonl.resume(folder.questions)}
    for row in questions.rows():
        before = there.setdefault(row["question_id"], row)
        if before.get("turns") != row["turns"]:
            raise EvaluationError(
                f"{folder.path} holds answers to other questions: {row['question_id']} is not what it is in "
                f"{questions.name}; choose another folder with --output"
            )
    jsonl.replace(folder.questions, there.values())


def load_answers(folder: Folder, model: str) -> dict[int, tuple[Turns, ...]]:
    """What a model has answered so far; of several answers to a question the last.

    Raises:
        EvaluationError: a row that is no answer, or an answer to a question that is not in question.jsonl.
    """
    file = folder.answers(model)
    if not file.is_file():
        return {}
    known = {row.get("question_id") for row in jsonl.read(folder.questions)}
    found: dict[int, tuple[Turns, ...]] = {}
    for number, row in enumerate(jsonl.resume(file), 1):
        place = f"{file}:{number}"
        question, choices = row.get("question_id"), row.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
            raise EvaluationError(f"{place} is no answer: it needs question_id and choices with turns")
        if not isinstance(question, int) or question not in known:
            raise EvaluationError(f"{place} answers question {question}, which is not in {folder.questions}")
        found[question] = tuple(two_turns(one.get("turns"), place) for one in choices)
    return found


def answer(
    folder: Folder, model: str, answerer: Answerer, questions: Sequence[Question]
) -> Iterator[tuple[Question, RemoteError | None]]:
    """Ask what is not answered yet and write it as it comes; every question that was asked, with what went wrong.

    At the end the file is in the order of the questions' ids, as FastChat sorts it.

    Raises:
        EvaluationError: the file holds answers by other settings.
    """
    file, settings = folder.answers(model), digest(answerer.settings)
    rows = jsonl.resume(file)
    for row in rows:
        if row.get("settings", settings) != settings:
            raise EvaluationError(
                f"{file} holds answers of another model, or by other settings; "
                "give this one another name, NAME=MODEL, or remove the file"
            )
    done = {row["question_id"] for row in rows}
    for question, found in answerer.answers([one for one in questions if one.id not in done]):
        if isinstance(found, RemoteError):
            yield question, found
            continue
        jsonl.append(file, answer_row(question, model, found, settings))
        yield question, None
    in_order = {row["question_id"]: row for row in jsonl.resume(file)}
    if in_order:
        jsonl.replace(file, (in_order[number] for number in sorted(in_order)))


def answer_row(question: Question, model: str, choices: Sequence[Turns], settings: str) -> jsonl.Row:
    """A row of model_answer, with what the answers depend on beside FastChat's keys."""
    return {
        "question_id": question.id,
        "answer_id": digest([question.id, model, choices])[:22],
        "model_id": model,
        "choices": [{"index": index, "turns": list(turns)} for index, turns in enumerate(choices)],
        "tstamp": time.time(),
        "settings": settings,
    }


def alpaca_eval_rows(model: str, questions: Iterable[Question], answers: Answers) -> list[jsonl.Row]:
    """The first turns as AlpacaEval's model_outputs."""
    return [
        {"dataset": "mt_bench", "instruction": one.turns[0], "output": answers[one.id][0][0], "generator": model}
        for one in questions
        if one.id in answers
    ]


def digest(value: Any) -> str:
    """SHA-256 of plain data, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

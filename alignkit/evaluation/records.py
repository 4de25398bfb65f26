"""What an evaluation's folder holds, read for reports: FastChat's files, whoever wrote them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.evaluation import jsonl
from alignkit.evaluation.answers import Answers, Folder, load_answers
from alignkit.evaluation.errors import EvaluationError
from alignkit.evaluation.judging import place_of
from alignkit.evaluation.questions import Question, question_of

NOTHING_READ = -1  # FastChat's score of a reply that it could not read


@dataclass(frozen=True, kw_only=True)
class Judged(ABC):
    """What was judged, and what became of it."""

    question: int
    category: str
    turn: int
    choice: int
    note: str | None  # why it is ungraded, or what FastChat would read

    @property
    def key(self) -> tuple[int, int, int]:
        return (self.question, self.turn, self.choice)

    @property
    @abstractmethod
    def value(self) -> float | None:
        """A number to take means of; None: ungraded."""


@dataclass(frozen=True, kw_only=True)
class Score(Judged):
    """A rating of one answer."""

    model: str
    rating: float | None
    judgment: str

    @property
    def value(self) -> float | None:
        return self.rating


@dataclass(frozen=True, kw_only=True)
class Game(Judged):
    """Two answers compared twice, each once as A."""

    models: tuple[str, str]
    winners: tuple[str, str] | None  # model_1, model_2 or tie, first and second game; None: ungraded
    judgments: tuple[str, str]

    @property
    def consistent(self) -> bool:
        return self.winners is not None and self.winners[0] == self.winners[1]

    @property
    def value(self) -> float | None:
        """1 if the first model wins both games, 0 if the second does, 0.5 otherwise."""
        if self.winners is None or not self.consistent or self.winners[0] == "tie":
            return None if self.winners is None else 0.5
        return float(self.winners[0] == "model_1")

    @property
    def first_wins(self) -> list[bool]:
        """Of the games that are decided, whether the answer shown first won: model_1's, then model_2's."""
        games = zip(self.winners or (), ("model_1", "model_2"), strict=False)
        return [winner == first for winner, first in games if winner != "tie"]


@dataclass(frozen=True, kw_only=True)
class Records:
    """A folder's questions, answers, and judgments by judge."""

    questions: Mapping[int, Question]
    answers: Mapping[str, Answers]
    scores: Mapping[str, tuple[Score, ...]]
    games: Mapping[str, tuple[Game, ...]]


def read_records(folder: Folder) -> Records:
    """Everything in a folder.

    Raises:
        EvaluationError: there are no questions, or a file that cannot be read.
    """
    rows = jsonl.read(folder.questions)
    questions = {one.id: one for one in (question_of(row, str(folder.questions), {}) for row in rows)}
    answers = {model: load_answers(folder, model) for model in folder.models()}
    scores: dict[str, list[Score]] = {}
    games: dict[str, list[Game]] = {}
    for file in sorted((folder.path / "model_judgment").glob("*.jsonl")):
        for row in jsonl.resume(file):
            place_of(row, file)
            if row["question_id"] not in questions:
                raise EvaluationError(
                    f"{file} judges question {row['question_id']}, which is not in {folder.questions}"
                )
            judge, category = _judge(row, file), questions[row["question_id"]].category
            if "model" in row:
                scores.setdefault(judge, []).append(_score(row, category))
            else:
                games.setdefault(judge, []).append(_game(row, category))
    return Records(
        questions=questions,
        answers=answers,
        scores={judge: tuple(found) for judge, found in scores.items()},
        games={judge: tuple(found) for judge, found in games.items()},
    )


def _judge(row: Mapping[str, Any], file: Path) -> str:
    judge = row.get("judge")
    return str(judge[0]) if isinstance(judge, list) and judge else file.stem.rpartition("_")[0]


def _common(row: Mapping[str, Any], category: str) -> dict[str, Any]:
    note = row.get("reason") or row.get("note")
    place = {"question": row["question_id"], "turn": row["turn"], "choice": row.get("choice", 0)}
    return {**place, "category": category, "note": note}


def _score(row: Mapping[str, Any], category: str) -> Score:
    score = row.get("score")
    return Score(
        model=row["model"],
        rating=float(score) if isinstance(score, int | float) and score != NOTHING_READ else None,
        judgment=str(row.get("judgment", "")),
        **_common(row, category),
    )


def _game(row: Mapping[str, Any], category: str) -> Game:
    winners = (row["g1_winner"], row["g2_winner"])
    return Game(
        models=(row["model_1"], row["model_2"]),
        winners=None if "error" in winners else winners,
        judgments=(str(row.get("g1_judgment", "")), str(row.get("g2_judgment", ""))),
        **_common(row, category),
    )

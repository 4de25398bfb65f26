"""Questions of two turns, with reference answers for those whose answers are right or wrong.

The files are FastChat's (lm-sys/FastChat, fastchat/llm_judge/data/mt_bench): question.jsonl, and reference_answer/
beside it. Of several reference files one is chosen by name, never by the judge's.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.evaluation import jsonl
from alignkit.evaluation.errors import EvaluationError

STARTER = "starter"  # 16 questions that ship with alignkit; not MT-bench
HUB_COLUMNS = {"prompt_id": "question_id", "prompt": "turns"}  # as HuggingFaceH4/mt_bench_prompts spells them

# Categories whose answers are judged beside a reference, and temperatures by category, as FastChat sets them.
WITH_REFERENCE = ("math", "reasoning", "coding")
TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
OTHER_TEMPERATURE = 0.7  # of categories that FastChat does not know


@dataclass(frozen=True, kw_only=True)
class Question:
    """Two turns of a user."""

    id: int
    category: str
    turns: tuple[str, str]
    reference: tuple[str, str] | None = None  # answers to the two turns
    temperature: float = 0.0  # at which models answer

    @property
    def needs_reference(self) -> bool:
        return self.category in WITH_REFERENCE


@dataclass(frozen=True, kw_only=True)
class Questions:
    """A set of questions."""

    name: str  # where they come from
    questions: tuple[Question, ...]
    reference_file: str | None = None  # from which the references were read

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is asked: ids, categories and turns. References belong to judging, not to the answers."""
        asked = [[one.id, one.category, *one.turns] for one in self.questions]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def rows(self) -> list[jsonl.Row]:
        """The rows of a question.jsonl."""
        return [{"question_id": one.id, "category": one.category, "turns": list(one.turns)} for one in self.questions]


def load_questions(
    source: str = STARTER, *, references: str | None = None, split: str = "train", limit: int | None = None
) -> Questions:
    """Questions from a folder with question.jsonl, from such a file, from a dataset on the Hub, or the starter set.

    `references` names a file of reference answers, or one of the names in reference_answer/; by default the only file
    there, or gpt-4. `limit` keeps so many questions of each category, from the start.

    Raises:
        EvaluationError: no such source, a row that is no question, an id that occurs twice, or a missing reference.
    """
    folder = Path(__file__).parent / STARTER if source == STARTER else Path(source)
    file = folder / "question.jsonl" if folder.is_dir() else folder
    if not file.is_file() and folder.exists():
        raise EvaluationError(f"{folder} holds no question.jsonl")
    rows, place = (jsonl.read(file), str(file)) if file.is_file() else (_from_hub(source, split), source)
    if not rows:
        raise EvaluationError(f"{place} holds no questions")
    reference_file = _reference_file(file.parent, references)
    answers = _references(reference_file) if reference_file else {}
    found = [question_of(row, f"{place}, row {number}", answers) for number, row in enumerate(rows, 1)]
    _refuse_doubles(found, place)
    found = _first_of_each(found, limit)
    if missing := [one.id for one in found if one.needs_reference and one.reference is None]:
        where = f" in {reference_file or file.parent / 'reference_answer/NAME.jsonl'}"
        if reference_file is None and not file.is_file():
            where = ", and a dataset on the Hub brings none; write --references FILE"
        raise EvaluationError(
            f"no reference answer for {_listed(missing)}{where}: {', '.join(WITH_REFERENCE)} are judged beside one"
        )
    name = STARTER if source == STARTER else source
    return Questions(name=name, questions=tuple(found), reference_file=str(reference_file) if reference_file else None)


def question_of(row: Mapping[str, Any], place: str, references: Mapping[int, tuple[str, str]]) -> Question:
    row = {HUB_COLUMNS.get(key, key): value for key, value in row.items()}
    number, category, turns = (row.get(key) for key in ("question_id", "category", "turns"))
    if not isinstance(number, int) or isinstance(number, bool):
        raise EvaluationError(f"{place}: question_id = {number!r} is no whole number")
    if not isinstance(category, str) or not category:
        raise EvaluationError(f"{place}: question {number} has no category")
    temperature = row.get("required_temperature", TEMPERATURES.get(category, OTHER_TEMPERATURE))
    if not isinstance(temperature, int | float) or temperature < 0:
        raise EvaluationError(f"{place}: required_temperature = {temperature!r} of question {number} is no temperature")
    return Question(
        id=number,
        category=category,
        turns=two_turns(turns, f"{place}: question {number}"),
        reference=references.get(number),
        temperature=float(temperature),
    )


def two_turns(turns: Any, place: str) -> tuple[str, str]:
    """Two texts. Raises EvaluationError."""
    if not isinstance(turns, list) or len(turns) != 2 or not all(isinstance(turn, str) for turn in turns):
        raise EvaluationError(f"{place} should have two turns, a list of two texts")
    return turns[0], turns[1]


def _refuse_doubles(questions: Sequence[Question], place: str) -> None:
    seen: set[int] = set()
    for one in questions:
        if one.id in seen:
            raise EvaluationError(f"question_id {one.id} occurs twice in {place}; give every question an id of its own")
        seen.add(one.id)


def _first_of_each(questions: Sequence[Question], limit: int | None) -> list[Question]:
    if limit is None:
        return [*questions]
    seen: dict[str, int] = {}
    kept = []
    for one in questions:
        seen[one.category] = seen.get(one.category, 0) + 1
        if seen[one.category] <= limit:
            kept.append(one)
    return kept


def _reference_file(folder: Path, name: str | None) -> Path | None:
    """The file of reference answers, None where there is none and none was named."""
    there = {file.stem: file for file in sorted((folder / "reference_answer").glob("*.jsonl"))}
    if name is not None:
        file = there.get(name, Path(name))
        if not file.is_file():
            known = f"; beside the questions there are {', '.join(there)}" if there else ""
            raise EvaluationError(f"there is no file of reference answers {name}{known}")
        return file
    if len(there) > 1 and "gpt-4" not in there:
        raise EvaluationError(
            f"{folder / 'reference_answer'} holds {', '.join(there)}; say which with --references NAME"
        )
    return there.get("gpt-4") or next(iter(there.values()), None)


def _references(file: Path) -> dict[int, tuple[str, str]]:
    """{question_id: answers to both turns}"""
    found = {}
    for number, row in enumerate(jsonl.read(file), 1):
        place = f"{file}:{number}"
        try:
            found[row["question_id"]] = two_turns(row["choices"][0]["turns"], place)
        except (LookupError, TypeError):
            raise EvaluationError(f"{place} is no answer: it needs question_id and choices with turns") from None
    return found


def _from_hub(source: str, split: str) -> list[jsonl.Row]:
    from datasets import load_dataset

    try:
        return [dict(row) for row in load_dataset(source, split=split)]
    except Exception as error:  # the Hub, the network and the builder raise whatever they like
        raise EvaluationError(
            f"no questions at {source}: {' '.join(str(error).split())[:300]}; "
            f"give a folder with question.jsonl, a file, a dataset on the Hub, or {STARTER}"
        ) from None


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"question{'s' if len(numbers) > 1 else ''} {shown}{' …' if len(numbers) > 5 else ''}"

"""Answers are shown to a judge, and what it says goes into FastChat's model_judgment files, row by row as it comes."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.evaluation import jsonl
from alignkit.evaluation.answers import Answers, Folder, digest
from alignkit.evaluation.errors import EvaluationError
from alignkit.evaluation.forms import Mode, Read
from alignkit.evaluation.judges import CHARACTERS_PER_TOKEN, Judge
from alignkit.evaluation.parse import Graded, Ungraded
from alignkit.evaluation.prompts import Message, Prompt, Prompts, Turns, texts_of
from alignkit.evaluation.questions import Question
from alignkit.remote import RemoteError

# Who A is in the first game of a pair, and in the second.
WINNERS = ({"A": "model_1", "B": "model_2", "tie": "tie"}, {"A": "model_2", "B": "model_1", "tie": "tie"})

Place = tuple[int, int, tuple[str, ...], int]  # question, turn, models, choice


@dataclass(frozen=True, kw_only=True)
class Match:
    """One answer, or two answers of different models, to one turn of a question."""

    question: Question
    turn: int
    models: tuple[str, ...]
    answers: tuple[Turns, ...]
    choice: int = 0  # of several answers of a model

    @property
    def place(self) -> Place:
        return (self.question.id, self.turn, self.models, self.choice)

    @property
    def mode(self) -> Mode:
        return "single" if len(self.models) == 1 else "pairwise"

    @property
    def games(self) -> int:
        """Times that the judge is asked: a pair is shown in both orders."""
        return len(self.models)

    def shown(self) -> list[str]:
        """The texts that the judge sees and did not write."""
        return [turn for answer in self.answers for turn in answer[: self.turn]]

    def requests(self, prompt: Prompt) -> list[list[Message]]:
        """What the judge is asked, game by game."""
        orders = [self.answers, self.answers[::-1]][: self.games]
        return [prompt.messages(texts_of(self.question, order, self.turn)) for order in orders]


def matches(
    questions: Sequence[Question], answers: Mapping[str, Answers], pairs: Sequence[tuple[str, str]] | None = None
) -> list[Match]:
    """Every answer alone, or every pair of answers; questions without an answer of each model are left out."""
    sides = [(model,) for model in answers] if pairs is None else [tuple(pair) for pair in pairs]
    found = []
    for models, question, turn in itertools.product(sides, questions, (1, 2)):
        if all(question.id in answers[model] for model in models):
            for choice, turns in enumerate(zip(*(answers[model][question.id] for model in models), strict=False)):
                found.append(Match(question=question, turn=turn, models=models, answers=turns, choice=choice))
    return found


@dataclass(frozen=True, kw_only=True)
class Judging:
    """One judge, its prompts, and where its judgments go. What is there already is not asked again."""

    judge: Judge
    prompts: Prompts
    folder: Folder

    def files(self, mode: Mode) -> tuple[Path, Path]:
        """Judgments, and beside them what has no value."""
        return self.folder.judgments(self.judge.name, mode), self.folder.ungraded(self.judge.name, mode)

    def key(self, match: Match) -> str:
        """All that the judgment depends on: the judge, its settings, and every word that it is shown."""
        return digest([dict(self.judge.identity), match.requests(self.prompt(match))])

    def open(self, wanted: Sequence[Match]) -> list[Match]:
        """The matches that still have to be judged, because they are not, or because their answers have changed."""
        keys = {match.place: self.key(match) for match in wanted}
        done = {
            place
            for file in self._files_of(wanted)
            for row in jsonl.resume(file)
            if _stands(row, keys.get(place := place_of(row, file)))
        }
        return [match for match in wanted if match.place not in done]

    def run(self, wanted: Sequence[Match]) -> Iterator[tuple[Match, Graded | Ungraded]]:
        """Judge the matches, and write and give each as it is known; a match without a value is written beside.

        Raises:
            Refused: the judge will answer nothing; what came before is written.
        """
        self._make_room(wanted)
        asked = [(match, game, one) for match in wanted for game, one in enumerate(match.requests(self.prompt(match)))]
        said: dict[Place, dict[int, str | RemoteError]] = {}
        for index, reply in self.judge.replies([one for _, _, one in asked]):
            match, game, _ = asked[index]
            replies = said.setdefault(match.place, {})
            replies[game] = reply
            if len(replies) == match.games:
                del said[match.place]
                yield match, self._settle(match, [replies[game] for game in range(match.games)])

    def _make_room(self, wanted: Sequence[Match]) -> None:
        """Take out the rows in whose place others come, and all but the last of several in one place."""
        places = {match.place for match in wanted}
        for file in self._files_of(wanted):
            rows = jsonl.resume(file)
            kept = {place: row for row in rows if (place := place_of(row, file)) not in places}
            if len(kept) < len(rows):
                jsonl.replace(file, kept.values())

    def _files_of(self, wanted: Sequence[Match]) -> set[Path]:
        return {file for match in wanted for file in self.files(match.mode)}

    def prompt(self, match: Match) -> Prompt:
        return self.prompts.of(match.mode, match.question, match.turn)

    def _settle(self, match: Match, replies: Sequence[str | RemoteError]) -> Graded | Ungraded:
        """Read the replies of a match and write its row."""
        read = [self._read(match, reply) for reply in replies]
        found = [value for _, value in read]
        row = self._row(match, [text for text, _ in read], found)
        good, beside = self.files(match.mode)
        failed = [one for one in found if isinstance(one, Ungraded)]
        if not failed:
            jsonl.append(good, row)
            return found[0]
        # a match that was not asked in full is asked again, the other game too: its reply is in the cache
        jsonl.append(beside, {**row, "reason": failed[0].reason, "asked": all(one.asked for one in failed)})
        return next((one for one in failed if not one.asked), failed[0])

    def _read(self, match: Match, reply: str | RemoteError) -> tuple[str, Read]:
        """The judgment and its value."""
        if isinstance(reply, RemoteError):
            return "", Ungraded(reason=str(reply), asked=False)
        return self.prompts.form.read(match.mode, reply, match.shown())

    def _row(self, match: Match, replies: Sequence[str], found: Sequence[Graded | Ungraded]) -> jsonl.Row:
        """FastChat's keys, and three of ours: choice, key, and note where FastChat would read something else."""
        prompt = self.prompt(match)
        users = [messages[-1]["content"] for messages in match.requests(prompt)]
        judge = [self.judge.name, prompt.name]
        row: dict[str, Any] = {"question_id": match.question.id}
        if match.mode == "single":
            score = found[0].value if isinstance(found[0], Graded) else None
            row |= {"model": match.models[0], "judge": judge, "user_prompt": users[0], "judgment": replies[0]}
            row |= {"score": score, "turn": match.turn}
        else:
            winners = [
                WINNERS[game][one.value] if isinstance(one, Graded) else "error" for game, one in enumerate(found)
            ]
            row |= {"model_1": match.models[0], "model_2": match.models[1]}
            row |= {"g1_winner": winners[0], "g2_winner": winners[1], "judge": judge}
            row |= {"g1_user_prompt": users[0], "g1_judgment": replies[0]}
            row |= {"g2_user_prompt": users[1], "g2_judgment": replies[1], "turn": match.turn}
        notes = [one.note for one in found if isinstance(one, Graded) and one.note]
        row |= {"tstamp": time.time(), "choice": match.choice, "key": self.key(match)}
        return {**row, **({"note": "; ".join(notes)} if notes else {})}


def place_of(row: Mapping[str, Any], file: Path) -> Place:
    """What a row of judgments is about. EvaluationError if it is none."""
    try:
        models = (row["model"],) if "model" in row else (row["model_1"], row["model_2"])
        return (row["question_id"], row["turn"], models, row.get("choice", 0))
    except KeyError as error:
        raise EvaluationError(f"{file} holds a row that is no judgment: it has no {error.args[0]}") from None


def _stands(row: Mapping[str, Any], key: str | None) -> bool:
    """Whether a row is a judgment of the answer that is there now. FastChat's own rows, without a key, are."""
    return row.get("asked", True) and (key is None or row.get("key", key) == key)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is still to be asked, counted before anything is sent."""

    requests: int
    kept: int  # replies that are in the cache
    input_tokens: int
    output_tokens: int


def estimate(judging: Judging, wanted: Sequence[Match], reply_tokens: int = 200) -> Estimate:
    """Requests and tokens of the matches that are open, at four characters a token and so many tokens a reply."""
    prompts = [one for match in wanted for one in match.requests(judging.prompt(match))]
    ask = [one for one in prompts if not judging.judge.kept(one)]
    characters = sum(len(message["content"]) for one in ask for message in one)
    return Estimate(
        requests=len(ask),
        kept=len(prompts) - len(ask),
        input_tokens=round(characters / CHARACTERS_PER_TOKEN),
        output_tokens=reply_tokens * len(ask),
    )

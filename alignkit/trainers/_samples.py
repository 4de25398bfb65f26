"""Answers that were drawn before, to train on in place of new ones; and the file of them that a run may write."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "samples.jsonl"  # in the output folder of a run that records

Tokens = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer as it was drawn."""

    ids: list[int]  # with the end token where it came to an end
    score: float | None  # None: nobody scored it
    logps: list[float | None] | None  # nats, of each token, by what drew it


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads a file with a row for each prompt: what `alignkit sample` writes, or what a run recorded.

    A row is {prompt, answers} with lists of the same length, where there are any: scores, truncated, answer_ids (tokens
    of the answers, end token included) and logps (of those tokens). Without answer_ids the texts are tokenised.
    """

    file: Path
    tokenizer: Any
    prompt_ids: Callable[[Any], list[int]]
    longest: int | None  # tokens of an answer

    def __call__(self) -> dict[Tokens, list[Answer]]:
        """Answers of each prompt, by its tokens, in the order of the file.

        Raises:
            ValueError: a line that is no such row, tokens of another tokenizer, answers that are too long, or rows of
                which some have scores or log-probs and others have none.
        """
        found: dict[Tokens, list[Answer]] = {}
        kinds: dict[tuple[bool, bool], int] = {}
        with self.file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                row = self._row(line, number)
                kinds.setdefault(("scores" in row, "logps" in row), number)
                prompt = self.prompt_ids(row["prompt"])
                if row.get("prompt_ids", prompt) != prompt:
                    raise ValueError(f"{self._at(number)}: the tokens of its prompt are of another tokenizer; {REMEDY}")
                found.setdefault(tuple(prompt), []).extend(self._answers(row, number))
        if not found:
            raise ValueError(f"{self.file} is empty; give a file that holds at least one row")
        if len(kinds) > 1:
            first, second = sorted(kinds.values())[:2]
            raise ValueError(
                f"{self.file}: lines {first} and {second} differ in whether they have scores and logps; give all rows "
                "the same keys"
            )
        return found

    def _row(self, line: str, number: int) -> Mapping[str, Any]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{self._at(number)} is no JSON: {error}") from None
        if not isinstance(row, dict) or "prompt" not in row or not isinstance(row.get("answers"), list):
            raise ValueError(f"{self._at(number)} is no row of samples; write {{prompt: ..., answers: [...]}}")
        for name in ("scores", "truncated", "answer_ids", "logps"):
            if name in row and len(row[name]) != len(row["answers"]):
                sizes = f"{len(row[name])} {name} for {len(row['answers'])} answers"
                raise ValueError(f"{self._at(number)} has {sizes}; give one each")
        if "logps" in row and "answer_ids" not in row:
            raise ValueError(f"{self._at(number)} has logps without the tokens they are of; add answer_ids")
        return row

    def _answers(self, row: Mapping[str, Any], number: int) -> Iterator[Answer]:
        texts = row["answers"]
        truncated = row.get("truncated", [False] * len(texts))
        for place, text in enumerate(texts):
            ids = row["answer_ids"][place] if "answer_ids" in row else self._tokens(text, truncated[place])
            if "answer_ids" in row and self._text(ids) != text:
                what = f"the tokens of answer {place} are of another tokenizer: they read {self._text(ids)!r}"
                raise ValueError(f"{self._at(number)}: {what}, and the text is {text!r}; {REMEDY}")
            if not ids or len(ids) > (self.longest or math.inf):
                allowed = (
                    f"train.max_completion_length allows 1 to {self.longest}" if self.longest else "1 is the least"
                )
                raise ValueError(f"{self._at(number)}: answer {place} has {len(ids)} tokens; {allowed}")
            logps = row["logps"][place] if "logps" in row else None
            if logps is not None and len(logps) != len(ids):
                raise ValueError(f"{self._at(number)}: answer {place} has {len(logps)} logps for {len(ids)} tokens")
            yield Answer(ids=ids, score=row["scores"][place] if "scores" in row else None, logps=logps)

    def _tokens(self, text: str, truncated: bool) -> list[int]:
        ids = self.tokenizer(text=text, add_special_tokens=False)["input_ids"]
        return ids if truncated else [*ids, self.tokenizer.eos_token_id]

    def _text(self, ids: list[int]) -> str | None:
        if not all(isinstance(one, int) and 0 <= one < len(self.tokenizer) for one in ids):
            return None
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _at(self, number: int) -> str:
        return f"{self.file}:{number}"


REMEDY = "remove prompt_ids, answer_ids and logps to have the texts tokenised"


class Samples:
    """Recorded answers to prompts. Each time a prompt comes up it gets the next group, after the last the first."""

    def __init__(self, answers: Mapping[Tokens, Sequence[Answer]], file: Path, size: int) -> None:
        """`size` is that of a group."""
        self.answers = answers
        self.file = file
        self.size = size
        self.visits = dict.fromkeys(answers, 0)  # times that a prompt came up
        first = next(iter(answers.values()))[0]
        self.has_scores = any(one.score is not None for of in answers.values() for one in of)
        self.has_logps = first.logps is not None

    def check(self, prompts: Iterable[tuple[int, Any]], prompt_ids: Callable[[Any], list[int]]) -> None:
        """Refuse (number, prompt) without a whole group.

        Raises:
            ValueError: which prompt, and how many answers it has.
        """
        for number, prompt in prompts:
            if (count := len(self.answers.get(tuple(prompt_ids(prompt)), ()))) < self.size:
                raise ValueError(
                    f"prompt {number}, {shown(prompt)}, has {count} answers in {self.file}; train.num_generations = "
                    f"{self.size} needs as many at least: lower it, or draw more with alignkit sample"
                )

    def draw(self, prompts: Sequence[Tokens]) -> list[Answer]:
        """A group for each prompt, of all ranks in their order, one after the other."""
        return [answer for prompt in prompts for answer in self._next(prompt)]

    def scores(self) -> list[float]:
        """Of every answer in the file that has one."""
        return [one.score for of in self.answers.values() for one in of if one.score is not None]

    def _next(self, prompt: Tokens) -> Sequence[Answer]:
        of_this = self.answers[prompt]
        start = self.visits[prompt] % (len(of_this) // self.size) * self.size
        self.visits[prompt] += 1
        return of_this[start : start + self.size]


class RecordedReward:
    """As TRL calls a reward: scores of the answers that were read last, or what `otherwise` gives drawn ones."""

    def __init__(self, otherwise: Callable[..., Any] | None) -> None:
        self.otherwise = otherwise
        self.scores: list[float | None] | None = None
        self.__name__ = getattr(otherwise, "__name__", "recorded")  # TRL logs rewards/NAME/mean and std

    def __call__(self, **asked: Any) -> Any:
        if self.scores is not None:
            return self.scores
        if self.otherwise is None:
            raise ValueError("answers that are drawn have no recorded scores; give a reward, or do not evaluate")
        return self.otherwise(**asked)


class Recorder:
    """Writes a row for each prompt of a generation, as soon as its answers have rewards."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.size = 0  # bytes that are this run's; what lies behind was written after the checkpoint it goes on from

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("r+b" if self.file.exists() else "w+b") as stream:
            stream.truncate(self.size)
            stream.seek(self.size)
            stream.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
            self.size = stream.tell()


def as_row(
    prompt: Any,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[Sequence[int]],
    scores: Sequence[float],
    logps: Sequence[Sequence[float]],
    tokenizer: Any,
    step: int,
) -> dict[str, Any]:
    """A group as `Reader` reads it; log-probs may be longer than their answers."""
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    return {
        "prompt": prompt,
        "answers": tokenizer.batch_decode(answer_ids, skip_special_tokens=True),
        "scores": _known(scores),
        "tokens": [len(ids) for ids in answer_ids],
        "truncated": [ids[-1] not in ends for ids in answer_ids],
        "step": step,
        "prompt_ids": prompt_ids,
        "answer_ids": answer_ids,
        "logps": [_known(each[: len(ids)]) for each, ids in zip(logps, answer_ids, strict=True)],
    }


def shown(prompt: Any) -> str:
    """The start of a prompt for a message."""
    text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _known(numbers: Sequence[float]) -> list[float | None]:
    """Numbers as JSON has them: NaN, for which it has no word, is null."""
    return [None if math.isnan(number) else number for number in numbers]

"""RewardBench's data, version 1 or 2, scored by a reward model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignkit.data.errors import BadRow, DataError
from alignkit.data.rows import checked_messages, checked_text, present
from alignkit.data.sources import open_source
from alignkit.data.spec import Source
from alignkit.rewards import bench
from alignkit.rewards.model import ModelReward

PART = 256  # rows that are scored at once
Version = Literal["v1", "v2"]
Progress = Callable[[int, int], None]  # rows that are scored, rows


@dataclass(frozen=True, kw_only=True)
class Example:
    """A row: conversations that end with an answer, the correct ones first."""

    id: str
    subset: str
    place: str
    correct: Sequence[list[dict[str, str]]]
    wrong: Sequence[list[dict[str, str]]]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a reward model reaches."""

    version: Version
    examples: Mapping[str, int]  # by subset
    subsets: Mapping[str, float]  # accuracy, or the score of Ties
    sections: Mapping[str, float]  # of version 1
    average: float | None  # the board's; None if no subset is one of its own
    truncated: int  # answers whose text was longer than the model reads


def run_bench(reward: ModelReward, source: Source, progress: Progress) -> Results:
    """Score every answer and add up. Raises DataError for rows that are of neither version, or of both."""
    version, examples = read_examples(source)
    scores: list[list[float]] = []
    truncated = 0
    for start in range(0, len(examples), PART):
        part = examples[start : start + PART]
        texts = [text for one in part for text in (*one.correct, *one.wrong)]
        found = reward.scored([text[:-1] for text in texts], [text[-1:] for text in texts])
        truncated += int(found.truncated.sum())
        left = found.scores.tolist()
        for one in part:
            count = len(one.correct) + len(one.wrong)
            scores.append(left[:count])
            left = left[count:]
        progress(len(scores), len(examples))
    return results(version, examples, scores, truncated)


def results(version: Version, examples: Sequence[Example], scores: Sequence[list[float]], truncated: int) -> Results:
    """`scores` are those of each example's answers, the correct ones first."""
    subsets = {}
    sizes = {name: sum(one.subset == name for one in examples) for name in dict.fromkeys(e.subset for e in examples)}
    for name in sizes:
        rows = [(one, found) for one, found in zip(examples, scores, strict=True) if one.subset == name]
        subsets[name] = subset_score(version, name, rows)
    sections = bench.section_scores(subsets) if version == "v1" else {}
    average: float | None = sum(subsets.values()) / len(subsets)
    if version == "v1":
        average = bench.average(sections) if sections else None
    return Results(
        version=version, examples=sizes, subsets=subsets, sections=sections, average=average, truncated=truncated
    )


def subset_score(version: Version, name: str, rows: Sequence[tuple[Example, list[float]]]) -> float:
    split = [(one, found[: len(one.correct)], found[len(one.correct) :]) for one, found in rows]
    if version == "v2" and name == bench.TIES:
        return bench.ties_score([bench.TiesExample(id=one.id, correct=good, wrong=bad) for one, good, bad in split])
    if version == "v2":
        return sum(bench.best_of(good[0], bad) for _, good, bad in split) / len(split)
    return sum(bench.pair_is_right(good[0], bad[0]) for _, good, bad in split) / len(split)


def read_examples(source: Source) -> tuple[Version, list[Example]]:
    """The rows, and the version whose format they have."""
    examples: list[Example] = []
    versions: dict[Version, str] = {}
    opened = open_source(source, Path.cwd())
    for place, row in opened.rows():
        try:
            if isinstance(row, BadRow):
                raise row
            version, example = read_row(row, place)
        except BadRow as bad:
            raise DataError(f"{place}: {bad}; correct the row, or take it out") from bad
        versions.setdefault(version, place)
        examples.append(example)
    if not examples:
        raise DataError(f"{opened.label} has no rows; give RewardBench's data, or a file in its format")
    if len(versions) == 2:
        raise DataError(f"{versions['v1']} has one chosen answer and {versions['v2']} a list of them; give one version")
    (version,) = versions
    return version, examples


def read_row(row: Mapping[str, Any], place: str) -> tuple[Version, Example]:
    """Lists of texts are version 2; a text or a list of messages is one answer, version 1."""
    chosen, rejected = present(row, "chosen"), present(row, "rejected")
    several = isinstance(chosen, list) and bool(chosen) and all(isinstance(one, str) for one in chosen)
    if several and not (isinstance(rejected, list) and rejected):
        raise BadRow("not a list of answers", "rejected, where chosen is one")
    lists = (chosen, rejected) if several else ([chosen], [rejected])
    correct, wrong = ([conversation(row, answer) for answer in answers] for answers in lists)
    example = Example(
        id=str(row.get("id", place)), subset=str(row.get("subset", "all")), place=place, correct=correct, wrong=wrong
    )
    return ("v2" if several else "v1"), example


def conversation(row: Mapping[str, Any], answer: Any) -> list[dict[str, str]]:
    """A whole conversation as it is, or the prompt with the answer."""
    if isinstance(answer, list):
        return checked_messages(answer, "an answer")
    said = {"role": "assistant", "content": checked_text(answer, "an answer", empty="empty answer")}
    prompt = present(row, "prompt")
    if isinstance(prompt, list):
        return [*checked_messages(prompt, "prompt"), said]
    return [{"role": "user", "content": checked_text(prompt, "prompt", empty="empty prompt")}, said]

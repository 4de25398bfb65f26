"""What is made of scored answers: sets to train on, and what the best of n is worth."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from alignkit.generation.spec import SampleSpec
from alignkit.plots import plot_best_of_n
from alignkit.rewards import best_of_each, kl_bound

BEST = "best.jsonl"  # prompt, completion, score
PAIRS = "pairs.jsonl"  # prompt, chosen, rejected, score_chosen, score_rejected
CURVE, PLOT = "best_of_n.json", "best_of_n.png"

Row = Mapping[str, Any]  # of samples.jsonl


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of prompts and answers; nothing is left out uncounted."""

    prompts: int
    answers: int
    truncated: int  # answers without an end
    empty: int  # answers without text
    best: int  # prompts whose best answer is kept
    pairs: int  # prompts whose best and worst answers are kept
    unusable: int  # prompts all of whose answers are empty, or truncated where such are dropped
    below: int  # prompts whose best answer is under min_score
    single: int  # prompts with one answer that may be trained on, which makes no pair
    tied: int  # prompts with several, of which none is worse than the best
    dropped: Mapping[str, int]  # by member: prompts whose answers it did not score


@dataclass(frozen=True, kw_only=True)
class Point:
    """The best of n answers, by the combined reward: means over prompts, with the standard error between them."""

    n: int
    kl: float  # bound in nats
    reward: float
    error: float | None  # of the reward; with one prompt there is none
    members: Mapping[str, float]  # each member's reward of that same answer


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where everything is, and what it holds."""

    folder: Path
    counts: Counts
    curve: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Places of two answers to a prompt; the first of equals."""

    usable: int  # answers that may be trained on
    best: int | None  # None where no answer may be trained on
    worst: int | None  # None where it would be no worse than the best


def write_sets(folder: Path, samples: Path, spec: SampleSpec) -> Outcome:
    """Write what can be trained on, and the value of the best of every n, beside the samples."""
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    chosen = [choose(row, spec) for row in rows]
    kept = [
        (row, one.best)
        for row, one in zip(rows, chosen, strict=True)
        if one.best is not None and (spec.min_score is None or row["scores"][one.best] >= spec.min_score)
    ]
    pairs = [
        (row, one.best, one.worst)
        for row, one in zip(rows, chosen, strict=True)
        if one.best is not None and one.worst is not None
    ]
    _write(folder / BEST, (_best(row, best) for row, best in kept))
    _write(folder / PAIRS, (_pair(row, best, worst) for row, best, worst in pairs))
    answered, single = sum(one.usable > 0 for one in chosen), sum(one.usable == 1 for one in chosen)
    counts = Counts(
        prompts=len(rows),
        answers=sum(len(row["answers"]) for row in rows),
        truncated=sum(sum(row["truncated"]) for row in rows),
        empty=sum(not answer.strip() for row in rows for answer in row["answers"]),
        best=len(kept),
        pairs=len(pairs),
        unusable=len(rows) - answered,
        below=answered - len(kept),
        single=single,
        tied=answered - single - len(pairs),
        dropped=_dropped(rows),
    )
    curve = curve_of(rows)
    text = json.dumps({"counts": asdict(counts), "curve": [asdict(point) for point in curve]}, indent=2)
    (folder / CURVE).write_text(text + "\n", encoding="utf-8")
    plot_best_of_n([asdict(point) for point in curve], folder / PLOT)
    return Outcome(folder=folder, counts=counts, curve=curve)


def choose(row: Row, spec: SampleSpec) -> Chosen:
    """The best and the worst of the answers that may be trained on: none without text, and none cut short if such are
    dropped."""
    ends = [not truncated or spec.truncated == "keep" for truncated in row["truncated"]]
    usable = [i for i, answer in enumerate(row["answers"]) if answer.strip() and ends[i]]
    if not usable:
        return Chosen(usable=0, best=None, worst=None)
    scores, answers = row["scores"], row["answers"]
    best = max(usable, key=lambda i: scores[i])
    worse = [i for i in usable if scores[i] < scores[best] and answers[i] != answers[best]]
    return Chosen(usable=len(usable), best=best, worst=min(worse, key=lambda i: scores[i]) if worse else None)


def curve_of(rows: Sequence[Row]) -> list[Point]:
    """The unbiased value of the best of every n up to all of them, over all answers as they were drawn."""
    sizes = range(1, len(rows[0]["answers"]) + 1)
    scored = [name for name in rows[0]["members"] if all(name in row["members"] for row in rows)]
    rewards = torch.stack([best_of_each(row["scores"], row["scores"], sizes) for row in rows])
    members = {
        name: torch.stack([best_of_each(row["scores"], row["members"][name], sizes) for row in rows]).mean(dim=0)
        for name in scored
    }
    errors = rewards.std(dim=0) / len(rows) ** 0.5 if len(rows) > 1 else None
    return [
        Point(
            n=n,
            kl=kl_bound(n),
            reward=rewards[:, place].mean().item(),
            error=None if errors is None else errors[place].item(),
            members={name: values[place].item() for name, values in members.items()},
        )
        for place, n in enumerate(sizes)
    ]


def as_completion(prompt: Any, text: str) -> Any:
    """An answer as rewards and data formats take it: a message where the prompt is messages."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def _best(row: Row, best: int) -> Row:
    prompt = row["prompt"]
    return {
        "prompt": prompt,
        "completion": as_completion(prompt, row["answers"][best]),
        "score": row["scores"][best],
    }


def _pair(row: Row, best: int, worst: int) -> Row:
    prompt, answers, scores = row["prompt"], row["answers"], row["scores"]
    return {
        "prompt": prompt,
        "chosen": as_completion(prompt, answers[best]),
        "rejected": as_completion(prompt, answers[worst]),
        "score_chosen": scores[best],
        "score_rejected": scores[worst],
    }


def _dropped(rows: Sequence[Row]) -> dict[str, int]:
    names = dict.fromkeys(name for row in rows for name in row["members"])
    missing = {name: sum(name not in row["members"] for row in rows) for name in names}
    return {name: count for name, count in missing.items() if count}


def _write(path: Path, rows: Iterator[Row]) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.replace(path)

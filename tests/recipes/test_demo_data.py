"""The shipped demo data keeps the promises of recipes/demo/LICENSE-DATA.md."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "recipes" / "demo"
COUNTS = {"train": 240, "test": 80}
SPLITS = sorted(COUNTS)
CATEGORIES = {
    "words", "how_to", "science", "geography", "advice", "arithmetic",
    "cooking", "animals", "writing", "travel", "health", "computing",
}  # fmt: skip
COLUMNS = {"prompt", "chosen", "rejected", "score_chosen", "score_rejected", "category"}
ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}


def rows(name: str) -> list[dict[str, Any]]:
    lines = (DEMO / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def text(row: dict[str, Any], column: str) -> str:
    return row[column][0]["content"]


def texts(column: str) -> list[str]:
    return [text(row, column) for split in SPLITS for row in rows(f"pairs_{split}")]


def plain(sentence: str) -> str:
    """Lower case without punctuation, so that two spellings of one prompt count as the same."""
    return " ".join(re.findall(r"\w+", sentence.lower()))


@pytest.mark.parametrize("split", SPLITS)
def test_counts(split: str) -> None:
    assert len(rows(f"pairs_{split}")) == COUNTS[split]
    assert len(rows(f"chat_{split}")) == COUNTS[split]


@pytest.mark.parametrize("split", SPLITS)
def test_schema_of_the_pairs(split: str) -> None:
    for row in rows(f"pairs_{split}"):
        assert set(row) == COLUMNS
        for column, role in ROLES.items():
            (message,) = row[column]
            assert set(message) == {"role", "content"}
            assert message["role"] == role
            assert message["content"]
            assert message["content"] == message["content"].strip()


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_covers_the_twelve_categories(split: str) -> None:
    counted = Counter(row["category"] for row in rows(f"pairs_{split}"))
    assert set(counted) == CATEGORIES
    assert max(counted.values()) - min(counted.values()) <= 2


def test_no_prompt_occurs_twice_in_either_file() -> None:
    repeated = [prompt for prompt, times in Counter(map(plain, texts("prompt"))).items() if times > 1]
    assert repeated == []


def test_no_answer_occurs_twice() -> None:
    repeated = [answer for answer, times in Counter(texts("chosen") + texts("rejected")).items() if times > 1]
    assert repeated == []


def test_chosen_is_one_sentence_and_one_example() -> None:
    for answer in texts("chosen"):
        assert answer.count("For example,") == 1
        answer_itself, example = answer.split(" For example,")
        assert re.fullmatch(r"[^.!?]+[.!?]\"?", answer_itself), answer
        assert re.search(r"[.!?]\"?$", example), answer


def test_rejected_gives_no_example() -> None:
    assert [answer for answer in texts("rejected") if "for example" in answer.lower()] == []


@pytest.mark.parametrize("split", SPLITS)
def test_chosen_scores_above_rejected(split: str) -> None:
    for row in rows(f"pairs_{split}"):
        chosen, rejected = row["score_chosen"], row["score_rejected"]
        assert 1 <= rejected <= 6 < 7 <= chosen <= 10
        assert (2 * chosen).is_integer()
        assert (2 * rejected).is_integer()


def test_margins_differ() -> None:
    margins = {row["score_chosen"] - row["score_rejected"] for row in rows("pairs_train")}
    assert len(margins) >= 8


@pytest.mark.parametrize("split", SPLITS)
def test_chat_rows_are_the_prompts_with_their_chosen_answers(split: str) -> None:
    expected = [{"messages": row["prompt"] + row["chosen"]} for row in rows(f"pairs_{split}")]
    assert rows(f"chat_{split}") == expected


def test_no_text_outgrows_the_token_limit() -> None:
    # Words stand in for tokens, which would need the tokenizer: no text has more than 62 words or 99 tokens.
    for column in ("chosen", "rejected"):
        pairs = zip(texts("prompt"), texts(column), strict=True)
        assert max(len(f"{prompt} {answer}".split()) for prompt, answer in pairs) <= 62


def test_the_licence_names_cc0_and_the_counts() -> None:
    licence = (DEMO / "LICENSE-DATA.md").read_text(encoding="utf-8")
    assert "CC0-1.0" in licence
    for split, count in COUNTS.items():
        assert f"| `pairs_{split}.jsonl` | {count} |" in licence
        assert f"| `chat_{split}.jsonl` | {count} |" in licence

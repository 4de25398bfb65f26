"""Token sequences of rows with images, by the rules of TRL's collators, which make them while training.

Other than text alone, a prompt and its answer are tokenized apart, where their texts part, and nothing is added to
plain text: it has to hold its own end token, and its own placeholders for images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from alignkit.data.errors import DataError

FAILURES = (ValueError, IndexError, KeyError, StopIteration, TypeError)  # every processor has its own

Row = Mapping[str, Any]
Part = str | list[dict[str, Any]]


def prompt_and_answers(row: Row, names: Sequence[str], processor: Any) -> tuple[list[int], list[list[int]], int]:
    """Tokens of the prompt with its images, of each answer, and of the prompt's end that its answers do not follow."""
    asked = written(row["prompt"], row, processor, asks=True)
    wholes = [written(row["prompt"] + row[name], row, processor) for name in names]
    prompt = asked
    if not isinstance(row["prompt"], str):
        for whole in wholes:
            both = zip(prompt, whole, strict=False)
            prompt = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], both))
    left_out = len(tokens(asked[len(prompt) :], [], processor, row)) if len(prompt) < len(asked) else 0
    answers = [tokens(whole[len(prompt) :], [], processor, row) for whole in wholes]
    return tokens(prompt, row["images"], processor, row), answers, left_out


def written(part: Part, row: Row, processor: Any, *, asks: bool = False) -> str:
    """Text as it is, messages in their template."""
    if isinstance(part, str):
        return part
    return processor.apply_chat_template(in_parts(part, row["images"]), tokenize=False, add_generation_prompt=asks)


def in_parts(messages: Sequence[Mapping[str, Any]], images: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Messages as processors take them: the images first in the first message of the user."""
    left = list(images)
    result = []
    for message in messages:
        placed = [{"type": "image", "image": image} for image in left] if message["role"] == "user" else []
        left = [] if message["role"] == "user" else left
        result.append({**message, "content": [*placed, {"type": "text", "text": message["content"]}]})
    return result


def tokens(text: str, images: Sequence[Any], processor: Any, row: Row) -> list[int]:
    """Tokens of a text and its images. Raises DataError where the text has not the places for them."""
    try:
        found = processor(text=text, images=list(images) or None, add_special_tokens=False)
    except FAILURES as error:
        raise not_taken(row, error) from error
    return list(found["input_ids"][0])


def whole(part: Part, row: Row, processor: Any, assistant_only: bool) -> tuple[list[int], list[bool]]:
    """Tokens of a text or a conversation with its images, and which of them are trained on."""
    if isinstance(part, str):
        ids = tokens(part, row["images"], processor, row)
        return ids, [True] * len(ids)
    try:
        found = processor.apply_chat_template(
            in_parts(part, row["images"]),
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=assistant_only,
            processor_kwargs={"add_special_tokens": False},
        )
    except FAILURES as error:
        raise not_taken(row, error) from error
    ids = list(found["input_ids"][0])
    return ids, [bool(bit) for bit in found["assistant_masks"][0]] if assistant_only else [True] * len(ids)


def not_taken(row: Row, error: Exception) -> DataError:
    count, place = len(row["images"]), row.get("place", "a row")
    return DataError(f"{place}: the model's processor cannot place {count} images in this text: {error}")

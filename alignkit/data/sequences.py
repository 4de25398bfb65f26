"""What a row becomes when it is tokenized: the tokens a model sees, and those that it is trained on.

The rules are TRL's, so that what is reported is what is trained: the template is applied once to the prompt with its
answer, plain text ends with the end token, and the answer begins where the tokens of prompt and whole part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from alignkit.data import vision

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Truncation = Literal["keep_start", "keep_end", "drop"]  # drop: what is too long is not trained on at all
ANSWERS = ("chosen", "rejected", "completion")
TAIL = 4  # tokens among which the end of the last answer is looked for
PROBE = "alignkit"  # an answer that no template holds


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """How a trainer cuts and masks its sequences."""

    max_length: int | None = None  # tokens; None: nothing is cut
    truncation: Truncation = "keep_start"
    assistant_only: bool = False  # of messages only the assistant's turns, which needs a template that marks them
    completion_only: bool = True  # the answer without its prompt


UNCUT = Treatment()


@dataclass(frozen=True, kw_only=True)
class TokenSequence:
    """One sequence of a row; a pair has two."""

    name: str  # what it ends with: chosen, rejected, answer 1, completion, messages, text or prompt
    ids: Sequence[int]
    trained: Sequence[bool]  # by token
    left_out: int = 0  # tokens at the prompt's end that the prompt with its answer does not have

    def ends_within(self, ends: frozenset[int], treatment: Treatment) -> bool:
        """Whether truncation leaves an end token behind the last answer; some templates put a line feed after it."""
        first = max(0, len(self.ids) - TAIL)
        places = [i for i in range(first, len(self.ids)) if self.ids[i] in ends and self.trained[i]]
        limit = None if treatment.truncation == "keep_end" else treatment.max_length
        return bool(places) and (limit is None or places[-1] < limit)

    def cut(self, treatment: Treatment) -> TokenSequence:
        """What truncation leaves."""
        limit = treatment.max_length
        if limit is None:
            return self
        if treatment.truncation == "drop":
            kept = slice(None) if len(self.ids) <= limit else slice(0)
        else:
            kept = slice(limit) if treatment.truncation == "keep_start" else slice(-limit, None)
        return replace(self, ids=self.ids[kept], trained=self.trained[kept])


def sequences(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, treatment: Treatment = UNCUT
) -> list[TokenSequence]:
    """The sequences of a row in one of the shapes, masked and not yet cut; `tokenizer` may be a processor."""
    answers = [name for name in ANSWERS if name in row]
    if "images" in row:
        return seen(row, answers, tokenizer, treatment)
    if "answers" in row:
        numbered = {f"answer {number}": answer for number, answer in enumerate(row["answers"], start=1)}
        return answered({**row, **numbered}, [*numbered], tokenizer, treatment)
    if answers:
        return answered(row, answers, tokenizer, treatment)
    if "prompt" in row:
        ids, _ = tokenized(row["prompt"], tokenizer, asks=True)
        return [TokenSequence(name="prompt", ids=ids, trained=[False] * len(ids))]
    name = "messages" if "messages" in row else "text"
    whole = row[name] if name == "messages" else ended(row[name], tokenizer)
    ids, spoken = tokenized(whole, tokenizer, assistant_only=treatment.assistant_only)
    return [TokenSequence(name=name, ids=ids, trained=spoken)]


def answered(
    row: Mapping[str, Any], answers: Sequence[str], tokenizer: PreTrainedTokenizerBase, treatment: Treatment
) -> list[TokenSequence]:
    """Prompt and answer. The two of a pair share the shorter of their common prefixes with the prompt."""
    prompt, _ = tokenized(row["prompt"], tokenizer, asks=True)
    wholes = [
        tokenized(row["prompt"] + ended(row[name], tokenizer), tokenizer, assistant_only=treatment.assistant_only)
        for name in answers
    ]
    start = min(shared_length(prompt, ids) for ids, _ in wholes)
    return [
        TokenSequence(
            name=name,
            ids=ids,
            trained=[False] * start + list(spoken[start:]) if treatment.completion_only else spoken,
            left_out=len(prompt) - start,
        )
        for name, (ids, spoken) in zip(answers, wholes, strict=True)
    ]


def seen(row: Mapping[str, Any], answers: Sequence[str], processor: Any, treatment: Treatment) -> list[TokenSequence]:
    """The sequences of a row with images."""
    if not answers:
        name = "messages" if "messages" in row else "text"
        ids, spoken = vision.whole(row[name], row, processor, treatment.assistant_only)
        return [TokenSequence(name=name, ids=ids, trained=spoken)]
    prompt, ends, left_out = vision.prompt_and_answers(row, answers, processor)
    asked = [not treatment.completion_only] * len(prompt)
    return [
        TokenSequence(name=name, ids=prompt + end, trained=asked + [True] * len(end), left_out=left_out)
        for name, end in zip(answers, ends, strict=True)
    ]


def tokenized(
    part: str | list, tokenizer: PreTrainedTokenizerBase, *, asks: bool = False, assistant_only: bool = False
) -> tuple[list[int], list[bool]]:
    """Tokens, and which of them the assistant speaks where that is asked; `asks` adds the start of an answer."""
    if isinstance(part, str):
        ids = text_tokenizer(tokenizer)(part)["input_ids"]
        return ids, [True] * len(ids)
    processor = text_tokenizer(tokenizer) is not tokenizer
    result: Any = tokenizer.apply_chat_template(
        vision.in_parts(part) if processor else part,
        tokenize=True,
        return_dict=True,
        add_generation_prompt=asks,
        return_assistant_tokens_mask=assistant_only,
    )
    names = ("input_ids", "assistant_masks") if assistant_only else ("input_ids",)
    ids, *masks = (result[name][0] if processor else result[name] for name in names)
    return ids, [bool(bit) for bit in masks[0]] if masks else [True] * len(ids)


def text_tokenizer(tokenizer: Any) -> PreTrainedTokenizerBase:
    """The tokenizer, or that of a processor."""
    return getattr(tokenizer, "tokenizer", tokenizer)


def ended(answer: str | list, tokenizer: PreTrainedTokenizerBase) -> str | list:
    """Plain text with the end token; messages get theirs from the template."""
    end = text_tokenizer(tokenizer).eos_token
    return answer + end if isinstance(answer, str) and end and not answer.endswith(end) else answer


def shared_length(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Special tokens by their text: what a template writes and a text should not hold."""
    added = text_tokenizer(tokenizer).added_tokens_decoder.items()
    return {token.content: id for id, token in added if token.special and token.content.strip()}


def end_tokens(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens at which an answer ends: the end of text, and the special token that the template puts after a turn."""
    text = text_tokenizer(tokenizer)
    ends = [text.eos_token_id]
    if tokenizer.chat_template:
        turns: list = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": PROBE}]
        turns = turns if text is tokenizer else vision.in_parts(turns)
        after = str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(PROBE)[2]
        special = special_tokens(tokenizer).values()
        ends += [id for id in text(after, add_special_tokens=False)["input_ids"] if id in special][:1]
    return frozenset(id for id in ends if id is not None)

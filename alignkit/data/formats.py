"""From the many ways in which rows are written to the six shapes that trainers take.

| shape      | a row                                                                                  |
|------------|----------------------------------------------------------------------------------------|
| `tokens`   | `{messages}`, or `{prompt, completion}`, or `{text}`                                   |
| `pairs`    | `{prompt, chosen, rejected}`                                                           |
| `rankings` | `{prompt, answers}`, best first; a pair is a ranking of two                            |
| `unpaired` | `{prompt, completion, label}`; a pair gives two rows, the chosen one with label true   |
| `prompts`  | `{prompt}`                                                                             |
| `tasks`    | `{prompt, columns}`: the row's other columns as JSON, for rewards                      |

Each of prompt, completion, chosen, rejected and each of the answers is a list of messages (role, content), to which the
chat template is applied, or plain text, to which none is; one source is one or the other throughout. Rows of answers
with scores give a pair for every two of them, or one ranking.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alignkit.data.errors import BadRow
from alignkit.data.images import carried_images
from alignkit.data.layouts import HOLDS, OTHERS, Layout, renamed
from alignkit.data.rated import checked_scores, rated_pairs, rated_ranking
from alignkit.data.rows import (
    Message,
    Row,
    check_carried,
    check_turns,
    checked_label,
    checked_messages,
    checked_number,
    checked_text,
    kind,
    present,
)

Part = str | list[Message]
Example = dict[str, Any]


def canonical(row: Row, layout: Layout) -> list[Example]:
    """The examples that a row gives: one, two where a pair is split, any number where answers have scores.

    Raises BadRow.
    """
    row = renamed(row, layout.renamed)
    check_carried(row, images=layout.images)
    images = carried_images(row)
    examples = TO_SHAPE[layout.shape](row, layout)
    extra: Example = {name: checked_number(row, name) for name in layout.columns_of_rows}
    if layout.images:
        extra["images"] = images
    return [{**example, **extra} for example in examples]


def tokens(row: Row, layout: Layout) -> list[Example]:
    if layout.format == "text":
        return [{"text": checked_text(present(row, "text"), "text")}]
    if layout.format in ("messages", "sharegpt"):
        messages = conversation(row, layout)
        check_turns(messages, HOLDS[layout.format], first="user", last="assistant")
        return [{"messages": messages}]
    prompt, completion = checked_prompt(row, layout), checked_answer(row, layout.answer, layout)
    return [{"messages": [*prompt, *completion]} if layout.joined else {"prompt": prompt, "completion": completion}]


def pairs(row: Row, layout: Layout) -> list[Example]:
    if layout.ties is not None:
        return pairs_of_rated(row, layout)
    prompt, chosen, rejected = split_pair(row, layout)
    if chosen == rejected:
        raise BadRow("chosen equals rejected")
    return [{"prompt": prompt, "chosen": chosen, "rejected": rejected}]


def pairs_of_rated(row: Row, layout: Layout) -> list[Example]:
    """Every two answers of a row, the better one chosen, with what objectives read of their scores."""
    assert layout.ties is not None
    prompt, answers = checked_prompt(row, layout), checked_answers(row, layout)
    scores = checked_scores(row, len(answers))
    found = []
    for better, worse in rated_pairs(scores, layout.ties):
        high, low = scores[better], scores[worse]
        known = {"score_chosen": high, "score_rejected": low, "margin": high - low}
        numbers = {name: value for name, value in known.items() if name in layout.columns}
        found.append({"prompt": prompt, "chosen": answers[better], "rejected": answers[worse], **numbers})
    return found


def rankings(row: Row, layout: Layout) -> list[Example]:
    if layout.paired:
        pair = pairs(row, layout)[0]
        return [{"prompt": pair["prompt"], "answers": [pair["chosen"], pair["rejected"]]}]
    prompt, answers = checked_prompt(row, layout), checked_answers(row, layout)
    if layout.ties is None:
        return [{"prompt": prompt, "answers": answers}]
    order = rated_ranking(checked_scores(row, len(answers)), layout.ties)
    return [{"prompt": prompt, "answers": [answers[number] for number in order]}] if order else []


def checked_answers(row: Row, layout: Layout) -> list[Part]:
    """Two or more answers to one prompt, no two of them the same."""
    values = present(row, "answers")
    if not isinstance(values, list):
        raise BadRow("not a list of answers", f"answers is {kind(values)}")
    if len(values) < 2:
        raise BadRow("fewer than two answers", f"answers holds {len(values)}, and a ranking compares")
    answers: list[Part] = []
    for number, value in enumerate(values, start=1):
        name = f"answer {number}"
        answer = starts_with_answer(as_answer(value, name, layout), name)
        if answer in answers:
            raise BadRow("an answer is ranked twice", f"answers {answers.index(answer) + 1} and {number} are the same")
        answers.append(answer)
    return answers


def unpaired(row: Row, layout: Layout) -> list[Example]:
    if layout.paired:
        pair = pairs(row, layout)[0]
        names = {"chosen": True, "rejected": False}
        return [{"prompt": pair["prompt"], "completion": pair[name], "label": label} for name, label in names.items()]
    prompt, completion = checked_prompt(row, layout), checked_answer(row, layout.answer, layout)
    return [{"prompt": prompt, "completion": completion, "label": checked_label(row)}]


def prompts(row: Row, layout: Layout) -> list[Example]:
    if layout.format == "implicit":
        return [{"prompt": split_pair(row, layout)[0]}]
    prompt = raw_prompt(row, layout)
    if isinstance(prompt, list) and len(prompt) > 1 and prompt[-1]["role"] == "assistant":
        prompt = prompt[:-1]  # rows with an answer serve as prompts without it
    return [{"prompt": ends_with_user(prompt)}]


def tasks(row: Row, layout: Layout) -> list[Example]:
    spoken = {HOLDS.get(layout.format), "input", "system", *layout.columns}
    others = {name: value for name, value in row.items() if name not in spoken}
    return [{**prompts(row, layout)[0], OTHERS: json.dumps(others, default=str)}]


TO_SHAPE: Mapping[str, Callable[[Row, Layout], list[Example]]] = {
    "tokens": tokens,
    "pairs": pairs,
    "rankings": rankings,
    "unpaired": unpaired,
    "prompts": prompts,
    "tasks": tasks,
}


def conversation(row: Row, layout: Layout) -> list[Message]:
    """The messages of a row, after the system prompt that some data keep in a column of its own."""
    name = HOLDS[layout.format]
    return with_system(checked_messages(present(row, name), name), row)


def with_system(messages: list[Message], row: Row) -> list[Message]:
    system = row.get("system")
    if system is None or system == "":
        return messages
    if messages[0]["role"] == "system":
        raise BadRow("wrong role order", "a system column beside a system message")
    return [{"role": "system", "content": checked_text(system, "system")}, *messages]


def raw_prompt(row: Row, layout: Layout) -> Part:
    """The prompt as the row has it, its turns not yet checked."""
    if layout.format in ("messages", "sharegpt"):
        return conversation(row, layout)
    if layout.format == "alpaca":
        text = checked_text(present(row, "instruction"), "instruction", empty="empty prompt")
        if row.get("input"):
            text = f"{text}\n\n{checked_text(row['input'], 'input')}"
        return with_system([{"role": "user", "content": text}], row)
    value = present(row, "prompt")
    if isinstance(value, list):
        if not layout.conversational:
            raise BadRow("not text", "prompt is a list where the first rows hold plain text")
        return with_system(checked_messages(value, "prompt"), row)
    text = checked_text(value, "prompt", empty="empty prompt")
    if layout.conversational:
        return with_system([{"role": "user", "content": text}], row)
    if row.get("system"):
        raise BadRow("not carried", "system; a plain-text prompt has no place for it, write format: alpaca")
    return text


def ends_with_user(prompt: Part) -> Part:
    if isinstance(prompt, list):
        check_turns(prompt, "the prompt", first="user", last="user")
    return prompt


def checked_prompt(row: Row, layout: Layout) -> Part:
    return ends_with_user(raw_prompt(row, layout))


def raw_answer(row: Row, name: str, layout: Layout) -> Part:
    return as_answer(present(row, name), name, layout)


def as_answer(value: Any, name: str, layout: Layout) -> Part:
    if not layout.conversational:
        return checked_text(value, name, empty="empty answer")
    if isinstance(value, list | dict):
        return checked_messages([value] if isinstance(value, dict) else value, name)
    return [{"role": "assistant", "content": checked_text(value, name, empty="empty answer")}]


def starts_with_answer(answer: Part, name: str) -> Part:
    if isinstance(answer, list):
        check_turns(answer, name, first="assistant", last="assistant")
    return answer


def checked_answer(row: Row, name: str, layout: Layout) -> Part:
    return starts_with_answer(raw_answer(row, name, layout), name)


def split_pair(row: Row, layout: Layout) -> tuple[Part, Part, Part]:
    """Prompt, chosen, rejected; taken apart where chosen and rejected repeat the conversation."""
    chosen, rejected = raw_answer(row, "chosen", layout), raw_answer(row, "rejected", layout)
    if isinstance(chosen, list) and isinstance(rejected, list) and chosen[0]["role"] != "assistant":
        shared = repeated_prompt(row, chosen, rejected)
        chosen, rejected = chosen[len(shared) :], rejected[len(shared) :]
        prompt: Part = with_system(shared, row)
    elif layout.format == "implicit":
        detail = "prompt; chosen and rejected hold answers only; write columns: {prompt: NAME} if it has another name"
        raise BadRow("missing field", detail)
    else:
        prompt = raw_prompt(row, layout)
    prompt = ends_with_user(prompt)
    return prompt, starts_with_answer(chosen, "chosen"), starts_with_answer(rejected, "rejected")


def repeated_prompt(row: Row, chosen: list[Message], rejected: list[Message]) -> list[Message]:
    """The messages with which both answers start: the prompt where it is given as messages, else all they share."""
    if isinstance(row.get("prompt"), list):
        prompt = checked_messages(row["prompt"], "prompt")
        if not chosen[: len(prompt)] == rejected[: len(prompt)] == prompt:
            raise BadRow("prompt not repeated", "chosen and rejected are conversations that do not start with prompt")
        return prompt
    shared = common_prefix(chosen, rejected)
    if not shared:
        raise BadRow("no common prompt", "chosen and rejected are conversations that start differently")
    return shared


def common_prefix(chosen: Sequence[Message], rejected: Sequence[Message]) -> list[Message]:
    """The messages that both start with; each keeps at least its last message as its answer."""
    length = 0
    for ours, theirs in zip(chosen[:-1], rejected[:-1], strict=False):
        if ours != theirs:
            break
        length += 1
    return list(chosen[:length])

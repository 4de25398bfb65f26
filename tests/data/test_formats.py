import datetime
import json
import math

import pytest

from alignkit.data import Source
from alignkit.data.errors import BadRow
from alignkit.data.formats import canonical
from alignkit.data.layouts import Layout, recognize


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief"}
PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}
NO_PROMPT = (
    "missing field: prompt; chosen and rejected hold answers only; write columns: {prompt: NAME} if it has another name"
)
CHAT_PAIR = {"prompt": [user("q")], "chosen": [assistant("a")], "rejected": [assistant("b")]}


def read(row, shape, numbers=(), **fields):
    """What a row gives when it is the only one of its source."""
    return canonical(row, recognize([row], Source(source="a.jsonl", **fields), "a.jsonl", shape, numbers))


def fails(row, shape, first=None, numbers=(), **fields):
    """Why a row is bad, in a source that starts with the row `first`."""
    layout = recognize([first or row], Source(source="a.jsonl", **fields), "a.jsonl", shape, numbers)
    with pytest.raises(BadRow) as error:
        canonical(row, layout)
    return str(error.value)


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"text": "t"}, {"text": "t"}),
        ({"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": "a"}),
        (
            {"prompt": [user("q")], "completion": [assistant("a")]},
            {"prompt": [user("q")], "completion": [assistant("a")]},
        ),
        ({"prompt": [user("q")], "completion": "a"}, {"prompt": [user("q")], "completion": [assistant("a")]}),
        ({"messages": [SYSTEM, user("q"), assistant("a")]}, {"messages": [SYSTEM, user("q"), assistant("a")]}),
        (
            {"system": "Be brief", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            {"messages": [SYSTEM, user("q"), assistant("a")]},
        ),
        (
            {"instruction": "i", "input": "", "output": "o"},
            {"prompt": [user("i")], "completion": [assistant("o")]},
        ),
        (
            {"system": "Be brief", "instruction": "i", "input": "x", "output": "o"},
            {"prompt": [SYSTEM, user("i\n\nx")], "completion": [assistant("o")]},
        ),
    ],
)
def test_tokens(row, example):
    assert read(row, "tokens") == [example]


@pytest.mark.parametrize(
    ("row", "example"),
    [
        (PAIR, PAIR),
        (CHAT_PAIR, CHAT_PAIR),
        ({**CHAT_PAIR, "prompt": "q"}, CHAT_PAIR),
        ({**CHAT_PAIR, "chosen": assistant("a")}, CHAT_PAIR),
        ({"instruction": "q", "chosen": "a", "rejected": "b"}, CHAT_PAIR),
        (
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": "a",
                "rejected": {"from": "gpt", "value": "b"},
            },
            CHAT_PAIR,
        ),
        ({**PAIR, "prompt": [SYSTEM, user("q")]}, {**CHAT_PAIR, "prompt": [SYSTEM, user("q")]}),
        ({**CHAT_PAIR, "prompt": "q", "system": "Be brief"}, {**CHAT_PAIR, "prompt": [SYSTEM, user("q")]}),
    ],
)
def test_pairs(row, example):
    assert read(row, "pairs") == [example]


@pytest.mark.parametrize(
    "prompt",
    [{}, {"prompt": "q"}, {"prompt": [user("q"), assistant("a1"), user("q2")]}],
    ids=["implicit", "ultrafeedback", "repeated"],
)
def test_pairs_that_repeat_the_conversation_are_split_where_they_part(prompt):
    start = [user("q"), assistant("a1"), user("q2")]
    row = {**prompt, "chosen": [*start, assistant("a")], "rejected": [*start, assistant("b")]}
    assert read(row, "pairs") == [{"prompt": start, "chosen": [assistant("a")], "rejected": [assistant("b")]}]


def test_a_prompt_given_as_messages_decides_where_repeated_conversations_are_split():
    follow_up = [assistant("same"), user("more?")]
    row = {
        "prompt": [user("q")],
        "chosen": [user("q"), *follow_up, assistant("a")],
        "rejected": [user("q"), *follow_up, assistant("b")],
    }
    [example] = read(row, "pairs")
    assert example["prompt"] == [user("q")]
    assert example["chosen"] == [*follow_up, assistant("a")]


def test_a_system_column_goes_before_a_split_prompt():
    row = {"system": "Be brief", "chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]}
    assert read(row, "pairs")[0]["prompt"] == [SYSTEM, user("q")]


RANKED = {"prompt": "q", "answers": ["a", "b", "c"]}
CHAT_RANKED = {"prompt": [user("q")], "answers": [[assistant(text)] for text in "abc"]}


@pytest.mark.parametrize(
    ("row", "example"),
    [
        (RANKED, RANKED),
        (CHAT_RANKED, CHAT_RANKED),
        ({**CHAT_RANKED, "prompt": "q"}, CHAT_RANKED),
        ({**CHAT_RANKED, "answers": ["a", "b", "c"]}, CHAT_RANKED),
        ({"instruction": "q", "answers": ["a", "b", "c"]}, CHAT_RANKED),
        ({"messages": [user("q")], "answers": ["a", assistant("b"), [assistant("c")]]}, CHAT_RANKED),
        ({**RANKED, "chosen": "a", "rejected": "c"}, RANKED),
        (PAIR, {"prompt": "q", "answers": ["a", "b"]}),
        (
            {"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
            {"prompt": [user("q")], "answers": [[assistant("a")], [assistant("b")]]},
        ),
    ],
)
def test_rankings(row, example):
    assert read(row, "rankings") == [example]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["a"], "fewer than two answers: answers holds 1, and a ranking compares"),
        ([], "fewer than two answers: answers holds 0, and a ranking compares"),
        (["a", "b", "a"], "an answer is ranked twice: answers 1 and 3 are the same"),
        ("a", "not a list of answers: answers is text"),
        (["a", " "], "empty answer: answer 2"),
        (["a", None], "not text: answer 2 is null"),
        (["a", [assistant("b")]], "not text: answer 2 is a list"),
        (None, "missing field: answers; the row has prompt"),
    ],
)
def test_rankings_that_rank_nothing(answers, reason):
    assert fails({"prompt": "q", "answers": answers}, "rankings", first=RANKED) == reason


def test_a_pair_gives_two_unpaired_rows_that_alternate():
    assert read({**PAIR, "score": 2}, "unpaired", ["score"]) == [
        {"prompt": "q", "completion": "a", "label": True, "score": 2.0},
        {"prompt": "q", "completion": "b", "label": False, "score": 2.0},
    ]


def test_unpaired_rows_keep_their_label():
    row = {"prompt": "q", "completion": "a", "label": False}
    assert read(row, "unpaired") == [row]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "q"}, "q"),
        ({"prompt": [SYSTEM, user("q")]}, [SYSTEM, user("q")]),
        ({"messages": [user("q"), assistant("a")]}, [user("q")]),
        ({"instruction": "q", "output": "a"}, [user("q")]),
        ({"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]}, [user("q")]),
    ],
)
def test_prompts(row, prompt):
    assert read(row, "prompts") == [{"prompt": prompt}]


def test_mapped_columns_and_numbers_are_read():
    row = {"question": "q", "chosen": "a", "rejected": "b", "good": "1.5", "rejected_score": 1, "other": "dropped"}
    mapping = {"prompt": "question", "score_chosen": "good", "score_rejected": "rejected_score"}
    example = {**PAIR, "score_chosen": 1.5, "score_rejected": 1.0}
    assert read(row, "pairs", ["score_chosen", "score_rejected"], columns=mapping) == [example]


def test_alpaca_makes_a_conversation_of_plain_columns():
    row = {"question": "q", "answer": "a"}
    mapping = {"instruction": "question", "output": "answer"}
    assert read(row, "tokens", columns=mapping) == [{"prompt": [user("q")], "completion": [assistant("a")]}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "chosen": "a"}, "missing field: rejected; the row has prompt, chosen"),
        ({**PAIR, "prompt": None}, "missing field: prompt; the row has chosen, rejected"),
        ({**PAIR, "chosen": ""}, "empty answer: chosen"),
        ({**PAIR, "rejected": "\n"}, "empty answer: rejected"),
        ({**PAIR, "prompt": ""}, "empty prompt: prompt"),
        ({**PAIR, "rejected": "a"}, "chosen equals rejected"),
        ({**PAIR, "chosen": 5}, "not text: chosen is a number"),
        ({**PAIR, "prompt": [user("q")]}, "not text: prompt is a list where the first rows hold plain text"),
        ({**PAIR, "chosen": [assistant("a")]}, "not text: chosen is a list"),
        ({**PAIR, "system": "x"}, "not carried: system; a plain-text prompt has no place for it, write format: alpaca"),
        ({**PAIR, "images": ["x.png"]}, "not carried: images; only text reaches the model"),
    ],
)
def test_bad_pairs_of_plain_text(row, message):
    assert fails(row, "pairs", first=PAIR) == message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**CHAT_PAIR, "rejected": [assistant("a")]}, "chosen equals rejected"),
        ({**CHAT_PAIR, "chosen": [assistant("")]}, "empty answer: message 1 of chosen"),
        ({**CHAT_PAIR, "chosen": []}, "missing field: chosen has no messages"),
        ({**CHAT_PAIR, "chosen": [{"role": "assistant"}]}, "not text: message 1 of chosen is null"),
        (
            {**CHAT_PAIR, "prompt": [user("q"), assistant("x")]},
            "wrong role order: the prompt ends with assistant, user was due",
        ),
        (
            {**CHAT_PAIR, "rejected": [user("b")]},
            "wrong role order: message 1 of rejected is user, assistant was due",
        ),
        (
            {**CHAT_PAIR, "chosen": [user("x"), assistant("a")], "rejected": [user("x"), assistant("b")]},
            "prompt not repeated: chosen and rejected are conversations that do not start with prompt",
        ),
        (
            {**CHAT_PAIR, "chosen": [user("q")], "rejected": [user("q")]},
            "empty answer: chosen ends with the prompt",
        ),
        (
            {**CHAT_PAIR, "system": "x", "prompt": [SYSTEM, user("q")]},
            "wrong role order: a system column beside a system message",
        ),
        ({**CHAT_PAIR, "system": 5}, "not text: system is a number"),
    ],
)
def test_bad_pairs_of_messages(row, message):
    assert fails(row, "pairs", first=CHAT_PAIR) == message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"chosen": [user("q"), assistant("a")], "rejected": [user("other"), assistant("b")]},
            "no common prompt: chosen and rejected are conversations that start differently",
        ),
        (
            {"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("a")]},
            "chosen equals rejected",
        ),
        (
            {
                "chosen": [user("q"), assistant("a"), user("x"), assistant("c")],
                "rejected": [user("q"), assistant("a"), user("y"), assistant("d")],
            },
            "wrong role order: the prompt ends with assistant, user was due",
        ),
        (
            {"chosen": [assistant("a")], "rejected": [assistant("b")]},
            NO_PROMPT,
        ),
        ({"chosen": "a", "rejected": "b"}, NO_PROMPT),
    ],
)
def test_bad_pairs_without_a_prompt(row, message):
    assert fails(row, "pairs") == message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [user("q")]}, "wrong role order: messages ends with user, assistant was due"),
        ({"messages": "q"}, "not a list of messages: messages is text"),
        (
            {"messages": [user("q"), user("q"), assistant("a")]},
            "wrong role order: message 2 of messages is user, assistant was due",
        ),
        ({"instruction": "", "output": "o"}, "empty prompt: instruction"),
        ({"instruction": "i", "output": " "}, "empty answer: output"),
        ({"instruction": "i", "input": 5, "output": "o"}, "not text: input is a number"),
        ({"prompt": "q", "completion": ""}, "empty answer: completion"),
        ({"text": " "}, "empty text: text"),
    ],
)
def test_bad_tokens(row, message):
    assert fails(row, "tokens") == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "missing field: score; the row has prompt, chosen, rejected"),
        (math.nan, "not a finite number: score is nan"),
        ("?", "not a number: score is '?'"),
    ],
)
def test_bad_numbers(value, message):
    assert fails({**PAIR, "score": value}, "pairs", numbers=["score"]) == message


def test_a_bad_label():
    assert fails({"prompt": "q", "completion": "a", "label": 1}, "unpaired") == "not true or false: label is 1"


def test_rows_without_messages_in_a_conversational_source_are_turned_into_messages():
    layout = Layout(shape="pairs", format="prompt", conversational=True)
    assert canonical(PAIR, layout) == [CHAT_PAIR]


@pytest.mark.parametrize(
    ("row", "prompt", "others", "fields"),
    [
        ({"prompt": "q", "answer": "a", "level": 3}, "q", {"answer": "a", "level": 3}, {}),
        ({"prompt": "q", "solution": ["a"]}, "q", {"answer": ["a"]}, {"columns": {"answer": "solution"}}),
        ({"question": "q", "answer": "a"}, [user("q")], {"answer": "a"}, {"columns": {"instruction": "question"}}),
        ({"prompt": [user("q")], "system": "Be brief"}, [SYSTEM, user("q")], {}, {}),
        ({"messages": [user("q"), assistant("a")], "id": None}, [user("q")], {"id": None}, {}),
        ({"prompt": "q", "when": datetime.date(2026, 1, 2)}, "q", {"when": "2026-01-02"}, {}),
    ],
)
def test_tasks_keep_what_rewards_may_read(row, prompt, others, fields):
    (example,) = read(row, "tasks", **fields)
    assert example.pop("prompt") == prompt
    assert json.loads(example.pop("columns")) == others
    assert example == {}

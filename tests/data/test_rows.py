import math

import pytest

from alignkit.data import rows
from alignkit.data.errors import BadRow

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be brief"}


def fails(check, *args, **kwargs):
    with pytest.raises(BadRow) as error:
        check(*args, **kwargs)
    return str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": "a", "x": None}, "missing field: prompt; the row has chosen"),
        ({"prompt": None}, "missing field: prompt; the row has nothing"),
    ],
)
def test_a_missing_field_is_named_beside_those_that_are_there(row, message):
    assert fails(rows.present, row, "prompt") == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "empty text: text"),
        (" \n", "empty text: text"),
        (5, "not text: text is a number"),
        (True, "not text: text is true or false"),
        (None, "not text: text is null"),
        (["a"], "not text: text is a list"),
        ({"a": 1}, "not text: text is an object"),
        (b"a", "not text: text is a bytes"),
        ("a\ud800", "not text: text holds half of a character (\\ud800)"),
    ],
)
def test_text_that_is_none(value, message):
    assert fails(rows.checked_text, value, "text") == message


def test_text_is_kept_as_it_is():
    assert rows.checked_text("  two  spaces\n", "text") == "  two  spaces\n"


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (0.5, 0.5), ("8.25", 8.25), (" 3 ", 3.0)])
def test_numbers_are_read_and_text_of_csv_with_them(value, number):
    assert rows.checked_number({"score": value}, "score") == number


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "missing field: score; the row has prompt"),
        (math.nan, "not a finite number: score is nan"),
        (-math.inf, "not a finite number: score is -inf"),
        ("NaN", "not a finite number: score is nan"),
        ("", "not a number: score is ''"),
        ("high", "not a number: score is 'high'"),
        (True, "not a number: score is true or false"),
        ([1], "not a number: score is a list"),
        (10**400, "not a number: score is '10000000000000000000'"),
    ],
)
def test_a_score_that_is_no_number(value, message):
    assert fails(rows.checked_number, {"prompt": "x", "score": value}, "score") == message


@pytest.mark.parametrize(("value", "label"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_labels_are_read_and_text_of_csv_with_them(value, label):
    assert rows.checked_label({"label": value}) is label


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "not true or false: label is 1"),
        (0.0, "not true or false: label is 0.0"),
        ("yes", "not true or false: label is text"),
        (None, "missing field: label; the row has nothing"),
    ],
)
def test_a_label_that_is_none(value, message):
    assert fails(rows.checked_label, {"label": value}) == message


def test_messages_keep_role_and_content_only():
    given = [{**SYSTEM, "name": "x"}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello", "role": None}]
    assert rows.checked_messages(given, "messages") == [SYSTEM, USER, ASSISTANT]


def test_an_empty_system_message_is_kept_because_it_replaces_the_templates_own():
    assert rows.checked_messages([{"role": "system", "content": ""}], "messages")[0]["content"] == ""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Hi", "not a list of messages: messages is text"),
        ([], "missing field: messages has no messages"),
        (["Hi"], "not a list of messages: message 1 of messages is text"),
        (
            [USER, {"role": "tool", "content": "x"}],
            "wrong role: message 2 of messages is from 'tool'; known are system, user, assistant, human, gpt",
        ),
        (
            [{"content": "x"}],
            "wrong role: message 1 of messages is from None; known are system, user, assistant, human, gpt",
        ),
        (
            [{"role": ["user"], "content": "x"}],
            "wrong role: message 1 of messages is from ['user']; known are system, user, assistant, human, gpt",
        ),
        ([{"role": "user"}], "not text: message 1 of messages is null"),
        ([{"role": "user", "content": ["x"]}], "not text: message 1 of messages is a list"),
        ([{"role": "user", "content": [{"type": "text"}]}], "not text: message 1 of messages is null"),
        ([{"role": "user", "content": " "}], "empty text: message 1 of messages"),
        ([USER, {"role": "assistant", "content": ""}], "empty answer: message 2 of messages"),
        (
            [USER, {**ASSISTANT, "tool_calls": [{}]}],
            "not carried: message 2 of messages has tool_calls, and only role and content reach the model",
        ),
    ],
)
def test_messages_that_cannot_be_used(value, message):
    assert fails(rows.checked_messages, value, "messages") == message


@pytest.mark.parametrize("turns", [[USER, ASSISTANT], [SYSTEM, USER, ASSISTANT], [USER, ASSISTANT, USER, ASSISTANT]])
def test_turns_in_order(turns):
    rows.check_turns(turns, "messages", first="user", last="assistant")


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([USER, USER, ASSISTANT], "wrong role order: message 2 of messages is user, assistant was due"),
        ([SYSTEM, ASSISTANT], "wrong role order: message 2 of messages is assistant, user was due"),
        ([USER, SYSTEM, ASSISTANT], "wrong role order: message 2 of messages is system, assistant was due"),
        ([SYSTEM, SYSTEM, USER, ASSISTANT], "wrong role order: message 2 of messages is system, user was due"),
        ([USER, ASSISTANT, USER], "wrong role order: messages ends with user, assistant was due"),
        ([SYSTEM], "wrong role order: messages ends with system, assistant was due"),
    ],
)
def test_turns_out_of_order(turns, message):
    assert fails(rows.check_turns, turns, "messages", first="user", last="assistant") == message


def test_an_answer_holds_no_system_message_and_is_not_empty():
    check = {"first": "assistant", "last": "assistant"}
    order = "wrong role order: message 1 of chosen is system, assistant was due"
    assert fails(rows.check_turns, [SYSTEM, ASSISTANT], "chosen", **check) == order
    assert fails(rows.check_turns, [], "chosen", **check) == "empty answer: chosen ends with the prompt"


@pytest.mark.parametrize("name", ["images", "image", "videos", "tools"])
def test_what_only_text_cannot_carry_is_refused_where_it_is_filled(name):
    rows.check_carried({name: [], "prompt": "x"})
    rows.check_carried({name: None})
    assert fails(rows.check_carried, {name: ["x"]}) == f"not carried: {name}; only text reaches the model"

import re

import pytest

from alignkit.rewards import rules


def score(answer, expected=None, **fields):
    columns = {} if expected is None else {"answer": [expected]}
    return rules.make("regex_match", **fields)(["q"], [answer], **columns).item()


def test_a_pattern_is_found_anywhere():
    assert score("the answer: 12", pattern=r"\d+") == 1
    assert score("the answer: twelve", pattern=r"\d+") == 0
    assert score("", pattern=r"^$") == 1  # a match may be empty


def test_the_last_match_must_capture_what_is_expected():
    fields = {"pattern": r"#### (.+)", "column": "answer"}
    assert score("#### 7\nno: #### 12 ", "12", **fields) == 1
    assert score("#### 12\nno: #### 7", "12", **fields) == 0
    assert score("12", "12", **fields) == 0
    assert score("a", "", pattern="a(b)?", column="answer") == 1  # a group that took no part


def test_a_number_is_compared_as_it_is_written():
    assert score("#### 12", 12, pattern=r"#### (.+)", column="answer") == 1


def test_an_exponential_pattern_does_not_hang(caplog):
    assert score("a" * 40 + "!", pattern=r"(a|a)+$", seconds=0.05) == 0
    assert caplog.messages == ["'(a|a)+$' is searched for longer than 0.05 s, which counts as no match"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pattern": "("}, "pattern = '(' is no regular expression: missing ) at position 1"),
        (
            {"pattern": "a", "column": "answer"},
            "pattern = 'a' captures nothing to compare; write (...) around the answer",
        ),
        ({"pattern": "a", "seconds": 0}, "seconds = 0.0 must be a positive number"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rules.make("regex_match", **fields)

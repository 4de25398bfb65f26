import pytest

from alignkit.rewards import rules


def score(answer, **fields):
    return rules.make("valid_json", **fields)(["q"], [answer]).item()


@pytest.mark.parametrize("answer", ['{"a": 1}', " [1, 2]\n", "3", "null", '```json\n{"a": 1}\n```', "```\n[]\n```"])
def test_json(answer):
    assert score(answer) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{'a': 1}",
        '{"a": 1} there',
        "NaN",
        '{"a": Infinity}',
        '{"a": 1',
        "[" * 100_000,
        "9" * 5000,
        "```json",
        "```",
    ],
)
def test_no_json(answer):
    assert score(answer) == 0


def test_keys():
    assert score('{"a": 1, "b": 2}', keys=["a"]) == 1
    assert score('{"b": {"a": 1}}', keys=["a"]) == 0
    assert score('["a"]', keys=["a"]) == 0

import pytest

from alignkit.rewards import rules

GOOD = "<think>2 + 2 is 4</think>\n<answer>4</answer>"


def score(answer, **fields):
    return rules.make("format", **fields)(["q"], [answer]).item()


def test_sections_in_order():
    assert score(GOOD) == 1
    assert score(f"  {GOOD}\n") == 1
    assert score("<a>x</a>", tags=["a"]) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "4",
        "<answer>4</answer><think>2 + 2</think>",
        "<think>2 + 2</think>",
        "<think>2 + 2</think> so <answer>4</answer>",
        GOOD + " I hope",
        "Well. " + GOOD,
        GOOD + GOOD,
        "<think></think><answer>4</answer>",
        "<think>2 + 2<answer>4</answer>",
        "<think>a<think>b</think><answer>4</answer>",
        "<think>a <answer>b</think><answer>4</answer>",
        "<THINK>a</THINK><answer>4</answer>",
    ],
)
def test_anything_else(answer):
    assert score(answer) == 0


def test_bad_fields():
    with pytest.raises(ValueError, match=r"^tags is empty; write \[think, answer\]$"):
        rules.make("format", tags=[])
    with pytest.raises(ValueError, match=r"^tags: '<think>' is no name of a tag; write it without brackets"):
        rules.make("format", tags=["<think>"])

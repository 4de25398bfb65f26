import pytest

from alignkit.rewards import rules


def score(answer, **fields):
    return rules.make("length", **fields)(["q"], [answer]).item()


@pytest.mark.parametrize(("words", "expected"), [(0, 0), (6, 0), (7, -0.25), (9, -0.75), (10, -1), (50, -1)])
def test_the_penalty_grows_over_the_buffer(words, expected):
    assert score("word " * words, limit=10, buffer=4) == expected


def test_characters():
    assert score("x" * 10, limit=12, buffer=4, unit="characters") == -0.5


def test_without_a_buffer_it_comes_at_once():
    assert score("a b", limit=3, buffer=0) == 0
    assert score("a b c", limit=3, buffer=0) == 0
    assert score("a b c d", limit=3, buffer=0) == -1


def test_bad_fields():
    with pytest.raises(ValueError, match=r"^limit = 0 must be at least 1$"):
        rules.make("length", limit=0, buffer=0)
    with pytest.raises(ValueError, match=r"^buffer = 4 must be from 0 to limit = 3$"):
        rules.make("length", limit=3, buffer=4)

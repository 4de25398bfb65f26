import pytest

from alignkit.rewards import rules


def score(answer, **fields):
    return rules.make("repetition", **fields)(["q"], [answer]).item()


def test_the_share_of_runs_that_are_repeated():
    assert score("a b c d e") == 0
    assert score("a b a b a b", n=2) == pytest.approx(-(1 - 2 / 5))
    assert score("A b a B a b", n=2) == pytest.approx(-(1 - 2 / 5))
    assert score("a a a a", n=1, penalty=2) == pytest.approx(-2 * 3 / 4)


def test_too_short_to_repeat():
    assert score("") == score("a a") == 0


def test_bad_fields():
    with pytest.raises(ValueError, match=r"^n = 0 must be at least 1$"):
        rules.make("repetition", n=0)
    with pytest.raises(ValueError, match=r"^penalty = -1.0 must be a positive number; remove the member"):
        rules.make("repetition", penalty=-1)

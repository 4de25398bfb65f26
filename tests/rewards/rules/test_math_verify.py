import pytest

from alignkit.rewards import rules


def score(answer, expected, **fields):
    return rules.make("math_verify", **fields)(["q"], [answer], answer=[expected]).item()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"$\frac{1}{2}$", "0.5"),
        (r"so \boxed{0.5}", r"\frac12"),
        ("The answer is 42.", "42"),
        ("It is 1,234", 1234),
        ("3, no: -3/4", "-0.75"),
        ("$x^2 + 2x + 1$", "(x+1)^2"),
        (r"$\{2, 1\}$", r"\{1, 2\}"),
        (r"$\sqrt{8}$", r"$2\sqrt{2}$"),
    ],
)
def test_the_same_mathematics(answer, expected):
    assert score(answer, expected) == 1


@pytest.mark.parametrize(("answer", "expected"), [("$3$", "4"), ("none", "1"), ("", "1"), (r"$\frac{1}{$", "2")])
def test_something_else(answer, expected):
    assert score(answer, expected) == 0


def test_what_would_take_for_ever_is_wrong_and_the_next_answer_is_read(caplog):
    assert score("$9^{9^{9^{9^{9}}}}$", "1", seconds=0.5) == 0
    (message,) = caplog.messages
    assert message == (
        "math_verify counts an answer as wrong: took longer than 0.5 s, or more memory than there is: "
        "'$9^{9^{9^{9^{9}}}}$'"
    )
    assert score("1", "1") == 1


def test_no_answer_is_run(tmp_path):
    file = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(file)!r}).touch()"
    for answer in (code, f"${code}$", rf"\boxed{{{code}}}", f"1 + {code}"):
        score(answer, "1")
    assert not file.exists()


def test_what_is_expected_must_be_mathematics():
    with pytest.raises(ValueError, match=r"^the expected answer '' is no mathematics; example 0: '1'$"):
        score("1", "")


def test_bad_fields():
    with pytest.raises(ValueError, match=r"^seconds = 0.0 must be a positive number$"):
        rules.make("math_verify", seconds=0)

"""YAML as recipes read it: the values of YAML 1.2, exact places, and limits that hold."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.recipe.problems import RecipeError
from alignkit.recipe.yaml_source import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, read_yaml, scalar


def data(text):
    document, report = read_yaml(text, "x.yaml")
    assert not report
    return document.data


def refused(text):
    with pytest.raises(RecipeError) as caught:
        read_yaml(text, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-7", 5e-7),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-1.", -1.0),
        ("+3", 3),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("false", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("2024-01-01", "2024-01-01"),
        ("-.inf", -math.inf),
        ("1e", "1e"),
        ("e5", "e5"),
        ("9" * 5000, "9" * 5000),  # int() refuses so many digits
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_not_a_number():
    assert math.isnan(scalar(".nan"))


def test_quoted_text_is_text():
    assert data("[\"5e-7\", 'true', |-\n  7\n]".replace("|-\n  7\n", '"null"')) == ["5e-7", "true", "null"]
    assert data("a: |\n  7\n") == {"a": "7\n"}


def test_keys_are_text_whatever_they_look_like():
    assert data("1: a\nnull: b\ntrue: c\n") == {"1": "a", "null": "b", "true": "c"}


def test_an_alias_is_a_copy():
    found = data("a: &x {b: [1]}\nc: *x\n")
    assert found == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert found["a"]["b"] is not found["c"]["b"]


def test_every_key_and_value_knows_its_place():
    document, _ = read_yaml("a:\n  - {b: 1}\n  - c: text\n", "x.yaml")
    mark = document.mark(("a", 1, "c"), "value")
    assert (mark.line, mark.column, mark.width, mark.source) == (3, 7, 4, "  - c: text")
    assert document.mark(("a", 0, "b")).column == 5
    assert document.mark(("a", 1, "missing")).line == 3, "an absent key is blamed on what should hold it"
    assert document.mark(("absent",)).line is None


def test_carets_stand_under_the_culprit():
    document, _ = read_yaml("a: 1\nbee: text\n", "x.yaml")
    assert document.mark(("bee",), "value").excerpt() == "    2 | bee: text\n      |      ^^^^"


def test_a_duplicate_key_is_reported_and_the_rest_read():
    document, report = read_yaml("a:\n  b: 1\n  b: 2\n  c: 3\na: 4\n", "x.yaml")
    assert document.data == {"a": {"b": 1, "c": 3}}
    assert [str(problem) for problem in report.problems()] == [
        "x.yaml:3: duplicate key a.b, already written in line 2; keep one of them",
        "x.yaml:5: duplicate key a, already written in line 1; keep one of them",
    ]


def test_quotes_do_not_hide_a_duplicate():
    _, report = read_yaml("a: 1\n'a': 2\n", "x.yaml")
    assert report


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", "x.yaml:2: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("? [a]\n: 1\n", "x.yaml:1: a key must be plain text; write key: value"),
        ("a: !!float 1\n", "x.yaml:1: the tag tag:yaml.org,2002:float is not read; write the plain value"),
        ("a: ! x\n", "x.yaml:1: the tag ! is not read; write the plain value"),
        ("a: &x [*x]\n", "x.yaml:1: the alias *x has no anchor before it; write &x at the value it stands for"),
        ("a: 1\nb: \x07\n", "x.yaml:2: contains the character U+0007; remove it; YAML forbids it"),
        ('a: "\\UFFFFFFFF"\n', "x.yaml: not valid YAML: an escape such as \\U00110000 is no character"),
        ("%YAML 9.9\n---\na: 1\n", "x.yaml:1: not valid YAML: found incompatible YAML document"),
    ],
)
def test_what_is_not_read(text, message):
    assert refused(text).startswith(message)


def test_a_file_that_is_too_large():
    assert (
        refused("a: " + "b" * MAX_BYTES)
        == "x.yaml: is larger than 256 KiB; a recipe is a page; keep data in files of their own"
    )


@pytest.mark.parametrize("text", ["[" * 5000, "a:\n" + "".join(f"{' ' * n}- \n" for n in range(300)), "{a: " * 5000])
def test_nesting_is_bounded(text):
    assert f"nested deeper than {MAX_DEPTH} levels" in refused(text)


def test_aliases_are_counted():
    assert f"more than {MAX_ALIASES} aliases" in refused("a: &a 1\nb: [" + "*a, " * 60 + "]\n")


def test_aliases_of_aliases_do_not_explode():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 5) + "]" for n in range(1, 10)]
    assert "more than 20000 values, counting what aliases stand for" in refused("\n".join(lines))


def test_aliases_do_not_nest_deeper_than_the_text_may():
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [[[[*a{n - 1}]]]]" for n in range(1, 10))]
    assert f"nested deeper than {MAX_DEPTH} levels" in refused("\n".join(lines))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab1:-,[]{}&*!|>'\"%@`#? \n\t~.\\u\x85é"), max_size=60) | st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        document, _ = read_yaml(text, "x.yaml")
    except RecipeError:
        return
    assert document.name == "x.yaml"

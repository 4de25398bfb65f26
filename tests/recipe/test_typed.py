"""Plain data against dataclasses of every shape that a section may have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from alignkit.recipe.document import Report
from alignkit.recipe.spelling import advice
from alignkit.recipe.typed import INVALID, Checker
from alignkit.recipe.yaml_source import read_yaml


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    size: int
    ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size = {self.size} is negative; write 0 or more")
        if self.size == 13:
            raise ZeroDivisionError("unlucky")


@dataclass(frozen=True, kw_only=True)
class Tree:
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    named: Mapping[str, Leaf] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    either: Literal["all"] | Sequence[str] = "all"
    number: float | Literal["auto"] = "auto"
    colour: Literal["red", "blue"] = "red"
    shade: Colour | None = None
    positive: Annotated[int, Field(gt=0)] = 1
    anything: Any = None
    extra: dict = field(default_factory=dict)


def checked(text, cls=Tree):
    document, report = read_yaml(text, "x.yaml")

    def unknown(key, path, choices):
        report.add(path, f"unknown {key}", advice(key, choices))

    value = Checker(report, unknown).construct(cls, document.data, ("tree",))
    return value, [str(problem).removeprefix("x.yaml: ") for problem in report.problems()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("leaf: {size: 1}", Tree(leaf=Leaf(size=1))),
        ("leaf: null", Tree()),
        ("leaves: [{size: 1}, {size: 2, ratio: 1}]", Tree(leaves=(Leaf(size=1), Leaf(size=2, ratio=1.0)))),
        ("named: {a: {size: 1}}", Tree(named={"a": Leaf(size=1)})),
        ("words: [a, b]", Tree(words=["a", "b"])),
        ("either: all", Tree()),
        ("either: [a]", Tree(either=("a",))),
        ("number: 2", Tree(number=2.0)),
        ("number: '1e-5'", Tree(number=1e-5)),
        ("number: auto", Tree()),
        ("shade: blue", Tree(shade=Colour.BLUE)),
        ("positive: 3.0", Tree(positive=3)),
        ("positive: '3'", Tree(positive=3)),
        ("anything: {a: [1, {b: null}]}", Tree(anything={"a": [1, {"b": None}]})),
        ("extra: {a: 1}", Tree(extra={"a": 1})),
    ],
)
def test_valid_values_become_what_the_class_declares(text, expected):
    value, problems = checked(text)
    assert problems == []
    assert value == expected
    assert type(value.number) is type(expected.number)
    assert type(value.positive) is int


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("leaf: {}", "tree.leaf.size is missing; write size: VALUE"),
        ("leaf: {size: -1}", "tree.leaf.size = -1 is negative; write 0 or more"),
        ("leaf: {size: 13}", "tree.leaf: unlucky"),
        ("leaf: 3", "tree.leaf = 3 should be a mapping or null"),
        ("leaf: {size: 1, sise: 2}", "unknown sise; did you mean size?"),
        ("leaves: [{size: true}]", "tree.leaves.0.size = true should be a whole number"),
        ("leaves: {size: 1}", "tree.leaves = a mapping of 1 should be a list of mappings; write [{...}], a list"),
        ("named: {a: {size: x}}", "tree.named.a.size = 'x' should be a whole number"),
        ("named: [a]", "tree.named = a list of 1 should be a mapping"),
        ("words: [1]", "tree.words.0 = 1 should be text; write it in quotes: '1'"),
        ("words: a", "tree.words = 'a' should be a list of text; write [a]"),
        ("either: some", "tree.either = 'some' should be all or a list of text; write [some]"),
        ("number: autoo", "tree.number = 'autoo' should be a number or auto; did you mean auto?"),
        ("number: .inf", "tree.number = inf should be a number or auto"),
        ("colour: green", "tree.colour = 'green' should be one of red, blue"),
        ("shade: bleu", "tree.shade = 'bleu' should be one of red, blue or null; did you mean blue?"),
        ("positive: 0", "tree.positive = 0 should be a whole number"),
    ],
)
def test_what_is_wrong_and_what_to_write(text, problem):
    value, problems = checked(text)
    assert value is INVALID
    assert [text.split(": ", 1)[1] if text.startswith("x.yaml") else text for text in problems] == [problem]


def test_every_problem_is_reported_at_once():
    _, problems = checked("leaves: [{size: x}, {size: -1}, {}]\nwords: 3\ncolour: 3\nzzz: 1\n")
    assert len(problems) == 6


def test_problems_are_bounded():
    text = "\n".join(f"key{n}: 1" for n in range(1000))
    _, problems = checked(text)
    assert len(problems) == Report.LIMIT + 1
    assert problems[-1] == "and 900 more problems; correct those above first"

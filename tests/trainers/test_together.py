"""What fails on one process fails on all: here the others are what `gather_object` says of them."""

import pytest
from torch import nn

from alignkit.remote import Unavailable
from alignkit.trainers import _together
from alignkit.trainers._together import FailedTogether, Together, together


def fails(error, cause=None):
    def function(**asked):
        raise error from cause

    return function


@pytest.fixture
def beside(monkeypatch):
    """Sets what the process before this one says."""

    def beside(said):
        monkeypatch.setattr(_together, "gather_object", lambda own: [said, *own])

    return beside


def test_nothing_fails(beside):
    beside(None)
    assert Together(lambda **asked: asked)(a=1) == {"a": 1}


def test_another_process_failed(beside):
    beside(("the server is away", True))
    with pytest.raises(FailedTogether, match=r"^process 0: the server is away$") as caught:
        Together(lambda **asked: asked)(a=1)
    assert caught.value.resumable
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("cause", "resumable"), [(Unavailable("http://scores", "away"), True), (None, False)])
def test_this_process_failed(beside, cause, resumable):
    beside(None)
    error = ValueError("no score")
    with pytest.raises(FailedTogether, match=r"^process 1: no score$") as caught:
        Together(fails(error, cause))()
    assert (caught.value.resumable, caught.value.__cause__) == (resumable, error)


def test_all_failed(beside):
    beside(("no score", False))
    with pytest.raises(FailedTogether, match=r"^process 0 \(and 1 more\): no score$"):
        Together(fails(KeyError()))()


def test_a_kind_of_error_that_says_little_is_named(beside):
    beside(None)
    with pytest.raises(FailedTogether, match=r"^process 1: KeyError\('score'\)$"):
        Together(fails(KeyError("score")))()


def test_what_trl_calls_in_ways_of_its_own_is_left_alone():
    async def later(**asked):
        return []

    model = nn.Linear(1, 1)
    assert together([model, later]) == [model, later]
    assert isinstance(together([fails(ValueError())])[0], Together)

"""Who is missing, as one rank sees it: others that move let it wait, and a store that is gone is named."""

import threading
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

from alignkit.trainers import _watch
from alignkit.trainers._watch import NO_STORE, Watch
from tests.launching import free_port

SECONDS = 0.4  # after which a rank counts as missing


class Store:
    """torch's, as far as it is asked."""

    def __init__(self) -> None:
        self.words: dict[str, bytes] = {}

    def set(self, key: str, word: str) -> None:
        self.words[key] = word.encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.words for key in keys)

    def get(self, key: str) -> bytes:
        return self.words[key]


class Silent(Store):
    """Of a host without power: it neither answers nor refuses."""

    def set(self, key: str, word: str) -> None:
        threading.Event().wait()


@pytest.fixture
def watch(monkeypatch):
    """One that does not end the process, but sets `ended`."""
    watch = Watch()
    watch.seconds, watch.ended = SECONDS, threading.Event()

    def end(code: int) -> None:
        assert code == 75
        watch.ended.set()
        watch.release()

    monkeypatch.setattr(_watch.os, "_exit", end)
    yield watch
    watch.release()


def speak(store: Store, done: int) -> None:
    """As rank 1 does, which has done so much."""
    store.set("alignkit/1", f"there {done} {time.monotonic()}")


def test_a_rank_waits_as_long_as_another_moves(watch, caplog):
    store = Store()
    watch.start(store, 0, 2)
    for done in range(12):
        speak(store, done)
        time.sleep(SECONDS / 4)
    assert not watch.ended.is_set()
    until = time.monotonic() + 10 * SECONDS
    while not watch.ended.is_set() and time.monotonic() < until:
        speak(store, 11)  # it speaks, and does no more
        time.sleep(SECONDS / 20)
    assert watch.ended.is_set()
    assert "nothing has moved for 0 s, and rank 0 on " in caplog.text
    assert "is behind the others; --resume auto" in caplog.text


def test_one_that_does_not_speak_is_named(watch, caplog):
    watch.start(Store(), 0, 2)
    assert watch.ended.wait(10 * SECONDS)
    assert "rank 1 on an unknown host does not answer" in caplog.text


def refusing() -> dist.TCPStore:
    """A connection to a store whose process has ended."""
    port = free_port()
    host = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=SECONDS))
    del host
    return store


@pytest.mark.parametrize("gone", [Silent, refusing])
def test_without_the_store_a_rank_goes_on_while_it_moves(gone, watch, caplog):
    watch.start(gone(), 1, 2)
    for _ in range(12):
        watch.moved()
        time.sleep(SECONDS / 4)
    assert not watch.ended.is_set()
    assert (NO_STORE in caplog.text) == (gone is refusing)
    assert watch.ended.wait(10 * SECONDS)
    assert f"nothing has moved for 0 s, and {NO_STORE}" in caplog.text

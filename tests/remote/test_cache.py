import threading

import pytest

from alignkit.remote import Cache
from alignkit.remote.cache import key_of

REQUEST = {"url": "u", "body": {"model": "m", "temperature": 0}}


def never():
    raise AssertionError("asked again")


def test_a_reply_is_kept_under_its_request(tmp_path):
    cache = Cache(tmp_path)
    assert cache.get(REQUEST) is None
    assert cache.fetch(REQUEST, lambda: {"a": "ä"}) == ({"a": "ä"}, False)
    assert Cache(tmp_path).fetch({"body": {"temperature": 0, "model": "m"}, "url": "u"}, never) == ({"a": "ä"}, True)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


@pytest.mark.parametrize("other", [{"url": "v"}, {"body": {"model": "n", "temperature": 0}}, {"body": {"model": "m"}}])
def test_everything_that_is_sent_matters(other):
    assert key_of({**REQUEST, **other}) != key_of(REQUEST)


@pytest.mark.parametrize("content", ["", '{"reply": ', "[]", "{}", "\xff"])
def test_a_file_that_cannot_be_read_counts_as_absent(tmp_path, content):
    cache = Cache(tmp_path)
    cache.fetch(REQUEST, lambda: 1)
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(content.encode("latin-1"))
    assert cache.fetch(REQUEST, lambda: 2) == (2, False)
    assert cache.get(REQUEST) == 2


def test_a_failure_is_not_kept(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(AssertionError, match="asked again"):
        cache.fetch(REQUEST, never)
    assert cache.fetch(REQUEST, lambda: 1) == (1, False)


def test_threads_with_one_request_ask_once(tmp_path):
    cache, asked, together = Cache(tmp_path), [], threading.Barrier(4)

    def ask():
        asked.append(1)
        return 1

    def run():
        together.wait()
        cache.fetch(REQUEST, ask)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [1]

"""The client against a server that misbehaves in every way that servers do."""

import email.utils
import logging
import threading
import time
import traceback

import pytest

from alignkit.remote import BadReply, Cache, Client, Endpoint, Refused, Rejected, RemoteError, Unavailable
from alignkit.remote.client import retry_after
from tests.remote.server import (
    HALF_OF_THE_JSON,
    HALF_OF_THE_REPLY,
    NO_CHOICES,
    NO_TEXT,
    Answer,
    Cut,
    Hang,
    Server,
    failed,
    in_turn,
    said,
)

KEY = "sk-do-not-tell-4711"
HELLO = [{"role": "user", "content": "hello"}]


def client_of(server, *, waits=None, cache=None, **settings):
    """A client that notes how long it would wait instead of waiting."""
    endpoint = Endpoint(url=server.url, **{"timeout": 10, "tries": 3, **settings})
    return Client(endpoint, cache=cache, sleep=(waits if waits is not None else []).append)


def test_an_answer_with_what_it_took():
    with Server(in_turn(then=said("hi"))) as server, client_of(server) as client:
        reply = client.chat("judge", HELLO, temperature=0, max_tokens=5)
    assert (reply.text, reply.finish_reason, reply.cached) == ("hi", "stop", False)
    assert (reply.input_tokens, reply.output_tokens) == (7, 3)
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {"model": "judge", "messages": HELLO, "temperature": 0, "max_tokens": 5}


@pytest.mark.parametrize(
    "trouble",
    [failed(500), failed(503), failed(408), Cut(), NO_CHOICES, NO_TEXT, HALF_OF_THE_JSON, HALF_OF_THE_REPLY],
    ids=["500", "503", "408", "cut", "no choices", "null", "half of the JSON", "half of the reply"],
)
def test_what_may_pass_is_tried_again_after_longer_and_longer(trouble):
    waits = []
    with Server(in_turn(trouble, trouble, then=said("hi"))) as server, client_of(server, waits=waits) as client:
        assert client.chat("judge", HELLO).text == "hi"
    assert len(server.asked) == 3
    first, second = waits
    assert 0.5 <= first <= 1 <= second <= 2


@pytest.mark.parametrize(
    ("trouble", "kind", "cause"),
    [
        (failed(500, "on fire"), Unavailable, "HTTP 500: on fire"),
        (failed(429, "slow down"), Unavailable, "HTTP 429: slow down"),
        (Answer(body=b"Bad Gateway", status=502), Unavailable, "HTTP 502: Bad Gateway"),
        (NO_CHOICES, BadReply, "the reply has no choices"),
        (NO_TEXT, BadReply, "the reply has no text"),
        (Answer(body=["a"]), BadReply, "the reply is no JSON object"),
        (Answer(body=b"<p>", headers={"Content-Type": "text/html"}), BadReply, "the reply is no JSON object"),
    ],
    ids=str,
)
def test_an_error_names_endpoint_and_cause(trouble, kind, cause):
    with Server(in_turn(then=trouble)) as server, client_of(server) as client, pytest.raises(RemoteError) as caught:
        client.chat("judge", HELLO)
    assert type(caught.value) is kind
    assert str(caught.value) == f"{server.url}: {cause}, after 3 tries"
    assert len(server.asked) == 3


def test_a_reply_that_stops_in_the_middle():
    with (
        Server(in_turn(then=HALF_OF_THE_JSON)) as server,
        client_of(server) as client,
        pytest.raises(BadReply, match="the reply is no JSON: "),
    ):
        client.chat("judge", HELLO)
    with (
        Server(in_turn(then=HALF_OF_THE_REPLY)) as server,
        client_of(server, tries=1) as client,
        pytest.raises(Unavailable, match=r"peer closed connection .*, after 1 try$"),
    ):
        client.chat("judge", HELLO)


def test_a_server_that_hangs():
    with Server(in_turn(then=Hang())) as server:
        with client_of(server, timeout=0.1, tries=2) as client, pytest.raises(Unavailable) as caught:
            client.chat("judge", HELLO)
        server.closing.set()
    assert str(caught.value) == f"{server.url}: no answer within 0.1 s, after 2 tries"


def test_nobody_there():
    with Server(in_turn(then=said("hi"))) as server:
        pass
    with client_of(server, tries=1) as client, pytest.raises(Unavailable, match="Connection refused, after 1 try"):
        client.chat("judge", HELLO)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_refusal_stops_at_once_and_for_good(status):
    with Server(in_turn(then=failed(status, "go away"))) as server, client_of(server) as client:
        for _ in range(2):
            with pytest.raises(Refused) as caught:
                client.chat("judge", HELLO)
    assert str(caught.value) == f"{server.url}: HTTP {status}: go away"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "message", "there", "hint"),
    [
        (404, "no", ["b", "a"], "; there is no model 'm', but a, b"),
        (400, "Model m unknown", ["a"], "; there is no model 'm', but a"),
        (404, "no", [*"abcdefg", "m1"], "; there is no model 'm', but m1, g, f, e, d …"),
        (404, "no", [], ""),
        (404, "no such page", ["a", "m"], ""),
        (400, "too long", ["a"], ""),
        (401, "wrong key for this model", ["a"], ""),
    ],
)
def test_a_model_that_is_not_there_is_answered_with_those_that_are(status, message, there, hint):
    with (
        Server(in_turn(then=failed(status, message)), models=there) as server,
        client_of(server) as client,
        pytest.raises(RemoteError) as caught,
    ):
        client.chat("m", HELLO)
    assert caught.value.cause == f"HTTP {status}: {message}{hint}"


def test_an_empty_account_is_no_overload():
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with (
        Server(in_turn(then=Answer(body=body, status=429))) as server,
        client_of(server) as client,
        pytest.raises(Refused, match="HTTP 429: You exceeded your quota"),
    ):
        client.chat("judge", HELLO)
    assert len(server.asked) == 1


def test_a_request_that_is_rejected_is_not_repeated_and_others_pass():
    with Server(in_turn(failed(400, "too long"), then=said("hi"))) as server, client_of(server) as client:
        with pytest.raises(Rejected, match=r"HTTP 400: too long$"):
            client.chat("judge", HELLO)
        assert client.chat("judge", HELLO).text == "hi"
    assert len(server.asked) == 2


def test_the_server_says_how_long_everybody_waits():
    waits = []
    with (
        Server(in_turn(failed(429, retry_after="7"), then=said("hi"))) as server,
        client_of(server, waits=waits) as client,
    ):
        client._pace._clock = lambda: sum(waits)
        client._pace._next = 0.0
        assert client.chat("judge", HELLO).text == "hi"
    assert waits == [7.0]


def test_a_server_that_asks_for_too_long_is_given_up():
    with (
        Server(in_turn(then=failed(429, "tomorrow", retry_after="90000"))) as server,
        client_of(server) as client,
        pytest.raises(Unavailable, match="HTTP 429: tomorrow, after 1 try"),
    ):
        client.chat("judge", HELLO)


def test_retry_after_is_seconds_or_a_date():
    assert retry_after({}) is None
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after": "-1"}) == 0
    assert retry_after({"retry-after": "soon"}) is None
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    assert 3500 < retry_after({"retry-after": date}) <= 3600
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_no_more_at_a_time_than_allowed_and_every_item_comes_back():
    together = threading.Barrier(3)

    def script(asked):
        together.wait(timeout=10)
        return said(asked.body["messages"][0]["content"].upper())

    def ask(word):
        return client.chat("judge", [{"role": "user", "content": word}]).text

    with Server(script) as server, client_of(server, concurrency=3) as client:
        assert dict(client.each(ask, "abcdef")) == {word: word.upper() for word in "abcdef"}
    assert server.most_at_once == 3


def test_an_item_that_fails_does_not_stop_the_others():
    def script(asked):
        return failed(400, "not b") if asked.body["word"] == "b" else Answer(body={"is": asked.body["word"]})

    with Server(script) as server, client_of(server, concurrency=1) as client:
        found = dict(client.each(lambda word: client.post({"word": word}, parse=lambda data: data["is"]), "abc"))
    assert (found["a"], found["c"]) == ("a", "c")
    assert str(found["b"]) == f"{server.url}: HTTP 400: not b"


def test_a_refusal_ends_all_items():
    with (
        Server(in_turn(then=failed(401))) as server,
        client_of(server, concurrency=2) as client,
        pytest.raises(Refused),
    ):
        list(client.each(lambda word: client.chat(word, HELLO), "abcdefgh"))
    assert len(server.asked) <= 2


def test_whoever_asks_to_stop_waits_for_no_answer():
    answered = threading.Event()
    late = []

    class Stop(Exception): ...

    def stop():
        raise Stop

    with Client(Endpoint(url="http://127.0.0.1:9"), while_waiting=stop) as client:
        with pytest.raises(Stop):
            list(client.each(lambda item: answered.wait(30) or late.append(item), "abc"))
        assert late == []
        answered.set()
        with pytest.raises(Refused, match="interrupted"):
            client.chat("judge", HELLO)  # nor begins another try


def test_json_goes_to_a_path_and_is_read_by_the_caller():
    script = in_turn(Answer(body={"score": "high"}), then=Answer(body={"score": 2}))
    with Server(script) as server, client_of(server) as client:
        score = client.post({"text": "a"}, path="/score", parse=lambda data: float(data["score"]))
    assert score == 2.0
    assert [asked.path for asked in server.asked] == ["/v1/score"] * 2


def test_what_was_answered_is_not_asked_again(tmp_path):
    cache = Cache(tmp_path)
    with Server(in_turn(failed(500), then=said("hi"))) as server, client_of(server, cache=cache) as client:
        assert not client.chat("judge", HELLO, temperature=0).cached
        again = client.chat("judge", HELLO, temperature=0)
        assert (again.text, again.output_tokens, again.cached) == ("hi", 3, True)
        assert not client.chat("judge", HELLO, temperature=1).cached
        assert not client.chat("other", HELLO, temperature=0).cached
    assert len(server.asked) == 4


def test_no_key_is_sent_to_a_server_that_needs_none(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", f"{KEY}-admin")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    with Server(in_turn(then=said("hi"))) as server, client_of(server) as client:
        client.chat("judge", HELLO)
    (asked,) = server.asked
    assert KEY not in str(asked.headers)
    assert "org-of-mine" not in str(asked.headers)


def test_the_key_reaches_the_server_and_nothing_else(monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("JUDGE_KEY", f" {KEY}\n")
    seen = []
    script = in_turn(said("hi"), failed(401, f"Incorrect API key provided: {KEY}"), then=said("no"))
    with Server(script) as server, client_of(server, cache=Cache(tmp_path), key_variable="JUDGE_KEY") as client:
        client.chat("judge", HELLO)
        try:
            client.chat("other", HELLO)
        except Refused:
            seen.append(traceback.format_exc())
        seen += [repr(client), repr(client.endpoint), caplog.text]
    assert all(asked.headers["authorization"] == f"Bearer {KEY}" for asked in server.asked)
    assert "Incorrect API key provided: (key)" in seen[0]
    files = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(files) == 1
    assert KEY not in "".join(seen + files)

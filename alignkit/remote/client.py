"""Requests that are tried again where that helps, and stop where it does not.

openai is imported where it is used: it takes a second, and most runs that read this file ask no server.
"""

from __future__ import annotations

import difflib
import email.utils
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from alignkit.remote.cache import Cache
from alignkit.remote.endpoint import NO_KEY, Endpoint
from alignkit.remote.errors import BadReply, Refused, Rejected, RemoteError, Unavailable
from alignkit.remote.pace import Pace
from alignkit.remote.side_by_side import side_by_side

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
R = TypeVar("R")
Parse = Callable[[Any], Any]  # raises ValueError, TypeError or LookupError on what cannot be read

HOPELESS = {401, 402, 403, 404}  # the next request would fare no better
QUICK = 10.0  # seconds for a list of models, which is asked for a message's sake
SHOWN = 5  # models in it
TRY_AGAIN = {408, 409, 425, 429}  # and every 5xx


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a chat model said."""

    text: str
    finish_reason: str | None  # "stop", or "length" where the answer was cut
    input_tokens: int  # as the server counts them; 0 where it does not say
    output_tokens: int
    cached: bool  # nothing was paid


class Client:
    """Asks one endpoint, from any number of threads.

    Args:
        endpoint: whom to ask, and how patiently.
        cache: keeps what was answered.
        sleep: waits so many seconds.
        while_waiting: called by `each` every second that no answer comes, and with every one; ends it by raising.

    Raises on construction:
        ValueError: the key is not in the environment.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache: Cache | None = None,
        sleep: Callable[[float], object] = time.sleep,
        while_waiting: Callable[[], object] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.cache = cache
        self._key = endpoint.key()
        self._pace = Pace(endpoint.requests_per_minute, sleep=sleep)
        self._sleep = sleep
        self._while_waiting = while_waiting
        self._slots = threading.BoundedSemaphore(endpoint.concurrency)
        self._refusal: Refused | None = None
        import openai

        # an organisation named in the environment is OpenAI's business only
        nobody = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        headers: dict[str, Any] = {} if endpoint.key_variable is None and self._key != NO_KEY else nobody
        self._openai = openai.OpenAI(
            api_key=self._key,
            base_url=endpoint.url,
            timeout=endpoint.timeout,
            max_retries=0,  # tries are counted here: a reply that cannot be read is one, too
            default_headers=headers,
        )

    def __repr__(self) -> str:
        return f"Client({self.endpoint!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._openai.close()

    def chat(self, model: str, messages: Sequence[Mapping[str, str]], **parameters: Any) -> Reply:
        """One answer of a chat model. `parameters` are the protocol's: temperature, max_tokens, seed.

        Raises:
            RemoteError: there is no answer; its class says what to do.
        """
        body = _chat(model, messages, parameters)
        (text, data), cached = self._fetch("/chat/completions", body, _said)
        usage = data.get("usage") or {}
        return Reply(
            text=text,
            finish_reason=data["choices"][0].get("finish_reason"),
            input_tokens=int(usage.get("prompt_tokens") or 0),
            output_tokens=int(usage.get("completion_tokens") or 0),
            cached=cached,
        )

    def knows(self, model: str, messages: Sequence[Mapping[str, str]], **parameters: Any) -> bool:
        """Whether the cache holds the answer, so that `chat` would ask nobody."""
        request = self._request("/chat/completions", _chat(model, messages, parameters))
        return self.cache is not None and self.cache.get(request) is not None

    def post(self, body: Mapping[str, Any], *, path: str = "", parse: Parse = lambda data: data) -> Any:
        """What the server answers to a JSON object at the endpoint's url + path, as `parse` reads it.

        A reply on which `parse` raises ValueError, TypeError or LookupError is tried again.

        Raises:
            RemoteError: there is no answer; its class says what to do.
        """
        return self._fetch(path, body, parse)[0]

    def models(self) -> list[str]:
        """Names of the models that the server says it has; none where it does not say."""
        import openai

        with suppress(openai.OpenAIError, ValueError, TypeError, AttributeError):
            return sorted(model.id for model in self._openai.models.list(timeout=QUICK))
        return []

    def each(self, ask: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | RemoteError]]:
        """(item, ask(item)) in the order in which they end, as many at a time as the endpoint allows.

        An item that failed comes with its error. Refused ends everything at once and is raised; what is already on
        its way is waited for, but not where somebody asked to stop.
        """
        return side_by_side(ask, items, self.endpoint.concurrency, self._while_waiting, self._stop)

    def _stop(self) -> None:
        """Let nobody begin another try."""
        self._refusal = Refused(self.endpoint.url, "interrupted")

    def _fetch(self, path: str, body: Mapping[str, Any], parse: Parse) -> tuple[Any, bool]:
        if self.cache is None:
            return parse(self._tried(path, body, parse)), False
        data, cached = self.cache.fetch(self._request(path, body), lambda: self._tried(path, body, parse))
        return parse(data), cached

    def _request(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"url": self.endpoint.url.rstrip("/") + path, "body": body}

    def _tried(self, path: str, body: Mapping[str, Any], parse: Parse) -> Any:
        """The reply's JSON, which `parse` has accepted, after as many tries as it takes."""
        for number in range(1, self.endpoint.tries + 1):
            if self._refusal is not None:
                raise self._refusal
            try:
                return self._once(path, body, parse)
            except _Again as again:
                delay = self._wait(number, again)
                if number == self.endpoint.tries or delay > self.endpoint.longest_wait:
                    tries = "1 try" if number == 1 else f"{number} tries"
                    raise again.kind(self.endpoint.url, f"{again.cause}, after {tries}") from None
                if again.after is not None:
                    self._pace.pause(delay)  # the server asks everybody
                else:
                    self._sleep(delay)
        raise AssertionError("a last try returns or raises")

    def _once(self, path: str, body: Mapping[str, Any], parse: Parse) -> Any:
        import openai

        with self._slots:
            self._pace.wait()
            try:
                data = self._openai.post(path or self.endpoint.url, body=dict(body), cast_to=object, options=_ONE_KEY)
                parse(data)
            except openai.APIStatusError as error:
                raise self._sorted(error, body.get("model")) from None
            except openai.APITimeoutError:
                raise _Again(Unavailable, f"no answer within {self.endpoint.timeout:g} s") from None
            except openai.APIConnectionError as error:
                raise _Again(Unavailable, self._clean(str(error.__cause__ or error)) or "no connection") from None
            except json.JSONDecodeError as error:
                raise _Again(BadReply, f"the reply is no JSON: {error}") from None
            except (ValueError, TypeError, LookupError) as error:
                raise _Again(BadReply, self._clean(str(error)) or type(error).__name__) from None
            return data

    def _sorted(self, error: openai.APIStatusError, model: str | None) -> Exception:
        """What an HTTP status means for whoever asked."""
        status, url = error.status_code, self.endpoint.url
        cause = f"HTTP {status}: {self._clean(_message(error))}"
        if model is not None and (status == 404 or (status == 400 and "model" in cause.lower())):
            cause += self._models_instead(model)
        if status in HOPELESS or error.code == "insufficient_quota":
            self._refusal = Refused(url, cause)
            return self._refusal
        if status in TRY_AGAIN or status >= 500:
            return _Again(Unavailable, cause, retry_after(error.response.headers))
        return Rejected(url, cause)

    def _models_instead(self, model: str) -> str:
        """What to write in place of a model that the server does not have; nothing where it has it, or does not say."""
        there = self.models()
        if not there or model in there:
            return ""
        shown = difflib.get_close_matches(model, there, SHOWN, cutoff=0) if len(there) > SHOWN else there
        return f"; there is no model {model!r}, but {', '.join(shown)}{' …' if len(there) > SHOWN else ''}"

    def _wait(self, number: int, again: _Again) -> float:
        """Seconds before the next try: what the server says, else twice as long each time, less a random part."""
        if again.after is not None:
            return again.after
        longest = min(self.endpoint.backoff * 2 ** (number - 1), self.endpoint.longest_wait)
        return longest * random.uniform(0.5, 1)

    def _clean(self, text: str) -> str:
        """A server's words on one line, without the key, which some repeat."""
        text = " ".join(text.split())
        return text if self._key == NO_KEY else text.replace(self._key, "(key)")


class _Again(Exception):
    """A try that failed in a way that may pass."""

    def __init__(self, kind: type[RemoteError], cause: str, after: float | None = None) -> None:
        super().__init__(cause)
        self.kind = kind
        self.cause = cause
        self.after = after  # seconds, as the server says


_ONE_KEY: Any = {"security": {"bearer_auth": True}}  # not the administrator's, which openai would find by itself


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from Retry-After as a number or a date; None if it does not say."""
    value = headers.get("retry-after")
    if value is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _chat(model: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model, "messages": [dict(message) for message in messages], **parameters}


def _said(data: Any) -> tuple[str, dict[str, Any]]:
    """The text of a chat completion, and the whole of it. ValueError says what is missing."""
    if not isinstance(data, dict):
        raise ValueError("the reply is no JSON object")
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError("the reply has no choices")
    message = choices[0].get("message") if isinstance(choices[0], dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        raise ValueError("the reply has no text")
    return text, data


def _message(error: openai.APIStatusError) -> str:
    """What the server says of an error, at most a few lines of it."""
    body = error.body
    text = body.get("message") if isinstance(body, dict) else None
    return str(text or error.response.text or error.response.reason_phrase)[:500]

"""Who judges: a model at an endpoint, or one on this machine. Both keep their replies in a cache."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from alignkit.evaluation.answering import Draw
from alignkit.evaluation.prompts import Message
from alignkit.remote import Cache, Client, RemoteError

CHARACTERS_PER_TOKEN = 4  # of English, roughly; for estimates before anything is sent


class Judge(Protocol):
    """Replies to prompts."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """All besides the prompt that the reply depends on."""
        ...

    def kept(self, messages: Sequence[Message]) -> bool:
        """Whether the reply to a prompt is in the cache, so that nothing is asked for it."""
        ...

    def replies(self, prompts: Sequence[Sequence[Message]]) -> Iterator[tuple[int, str | RemoteError]]:
        """(index of the prompt, reply or what went wrong) as they come."""
        ...


class OverBudget(RemoteError):
    """The request could cost more than what is left."""


@dataclass
class Budget:
    """What may be spent, in whatever currency the prices are in; counted before each request, at its worst."""

    input_price: float = 0.0  # per million tokens
    output_price: float = 0.0
    limit: float | None = None
    spent: float = 0.0
    input_tokens: int = 0  # as the server counts them
    output_tokens: int = 0
    _held: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def estimate(self, messages: Sequence[Message], output_tokens: int) -> float:
        """What a request costs if the answer has so many tokens."""
        tokens = sum(len(message["content"]) for message in messages) / CHARACTERS_PER_TOKEN
        return self.cost(tokens, output_tokens)

    def hold(self, worst: float, place: str) -> None:
        """Set money aside. OverBudget if there is not enough."""
        with self._lock:
            if self.limit is not None and self.spent + self._held + worst > self.limit:
                raise OverBudget(place, f"not asked: it could exceed the limit of {self.limit:g}")
            self._held += worst

    def settle(self, worst: float, input_tokens: int, output_tokens: int) -> None:
        """Put the money back that was not spent."""
        with self._lock:
            self._held -= worst
            self.spent += self.cost(input_tokens, output_tokens)
            self.input_tokens += input_tokens
            self.output_tokens += output_tokens

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """The price of so many tokens."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6


@dataclass(frozen=True, kw_only=True)
class RemoteJudge:
    """A model at an OpenAI-compatible endpoint, greedy as FastChat asks it."""

    client: Client
    model: str
    max_tokens: int = 2048  # of a reply
    temperature: float = 0.0
    parameters: Mapping[str, Any] = field(default_factory=dict)  # besides, as the protocol names them
    budget: Budget = field(default_factory=Budget)

    @property
    def name(self) -> str:
        return self.model

    @property
    def identity(self) -> dict[str, Any]:
        return {"url": self.client.endpoint.url, "model": self.model, **self._options}

    @property
    def _options(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "max_tokens": self.max_tokens, **self.parameters}

    def kept(self, messages: Sequence[Message]) -> bool:
        return self.client.knows(self.model, messages, **self._options)

    def replies(self, prompts: Sequence[Sequence[Message]]) -> Iterator[tuple[int, str | RemoteError]]:
        yield from self.client.each(lambda index: self._reply(prompts[index]), range(len(prompts)))

    def _reply(self, messages: Sequence[Message]) -> str:
        if self.kept(messages):
            return self.client.chat(self.model, messages, **self._options).text
        worst = self.budget.estimate(messages, self.max_tokens)
        self.budget.hold(worst, self.client.endpoint.url)
        tokens = (0, 0)
        try:
            reply = self.client.chat(self.model, messages, **self._options)
            tokens = (reply.input_tokens, reply.output_tokens)
        finally:
            self.budget.settle(worst, *tokens)
        return reply.text


@dataclass(frozen=True, kw_only=True)
class LocalJudge:
    """A model on this machine, greedy. It is loaded when there is something to ask."""

    name: str
    load: Callable[[], Draw]
    identity: Mapping[str, Any]
    cache: Cache
    at_once: int = 8

    def kept(self, messages: Sequence[Message]) -> bool:
        return self.cache.get(self._request(messages)) is not None

    def replies(self, prompts: Sequence[Sequence[Message]]) -> Iterator[tuple[int, str | RemoteError]]:
        rest = []
        for index, messages in enumerate(prompts):
            if (reply := self.cache.get(self._request(messages))) is None:
                rest.append(index)
            else:
                yield index, reply
        rest.sort(key=lambda index: -sum(len(message["content"]) for message in prompts[index]))
        draw = self.load() if rest else None
        for start in range(0, len(rest), self.at_once):
            assert draw is not None
            batch = rest[start : start + self.at_once]
            for index, reply in zip(batch, draw([prompts[index] for index in batch], 0.0, 0), strict=True):
                self.cache.put(self._request(prompts[index]), reply)
                yield index, reply

    def _request(self, messages: Sequence[Message]) -> dict[str, Any]:
        return {**self.identity, "messages": [dict(message) for message in messages]}

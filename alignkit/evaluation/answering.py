"""Models that answer two turns: on this machine in batches, or at an endpoint in parallel."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignkit.evaluation.prompts import Message, Turns
from alignkit.evaluation.questions import Question
from alignkit.generation import Chat
from alignkit.remote import Client, RemoteError

Draw = Callable[[Sequence[Chat], float, int], list[str]]  # (chats, temperature, seed) -> an answer to each


def first_turn(question: Question) -> list[Message]:
    return [{"role": "user", "content": question.turns[0]}]


def second_turn(question: Question, answer: str) -> list[Message]:
    """The second turn stands behind the model's own answer to the first."""
    said = {"role": "assistant", "content": answer}
    return [*first_turn(question), said, {"role": "user", "content": question.turns[1]}]


@dataclass(frozen=True, kw_only=True)
class LocalAnswerer:
    """A model on this machine.

    Questions of one temperature are answered `at_once` at a time, the longest first. The groups follow from the whole
    set of questions, so that a run which goes on after a stop draws what it would have drawn; choice i has the seed i.
    """

    load: Callable[[], Draw]  # called when something is to be answered
    questions: Sequence[Question]  # all of the evaluation
    settings: Mapping[str, Any]
    choices: int = 1
    at_once: int = 16

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, list[Turns] | RemoteError]]:
        wanted = {one.id for one in questions}
        groups = [group for group in self._groups() if any(one.id in wanted for one in group)]
        draw = self.load() if groups else None
        for group in groups:
            assert draw is not None
            choices = [self._turns(draw, group, seed) for seed in range(self.choices)]
            for number, question in enumerate(group):
                if question.id in wanted:
                    yield question, [choice[number] for choice in choices]

    def _groups(self) -> list[list[Question]]:
        by_length = sorted(self.questions, key=lambda one: (one.temperature, -len(one.turns[0]), one.id))
        groups: list[list[Question]] = []
        for one in by_length:
            if not groups or len(groups[-1]) == self.at_once or groups[-1][0].temperature != one.temperature:
                groups.append([])
            groups[-1].append(one)
        return groups

    def _turns(self, draw: Draw, group: Sequence[Question], seed: int) -> list[Turns]:
        temperature = group[0].temperature
        first = draw([first_turn(one) for one in group], temperature, seed)
        asked = [second_turn(one, said) for one, said in zip(group, first, strict=True)]
        return [*zip(first, draw(asked, temperature, seed), strict=True)]


@dataclass(frozen=True, kw_only=True)
class RemoteAnswerer:
    """A model at an OpenAI-compatible endpoint."""

    client: Client
    model: str
    choices: int = 1
    max_tokens: int = 1024  # of an answer
    parameters: Mapping[str, Any] = field(default_factory=dict)  # besides, as the protocol names them

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "url": self.client.endpoint.url,
            "model": self.model,
            "max_tokens": self.max_tokens,
            "choices": self.choices,
            **self.parameters,
        }

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, list[Turns] | RemoteError]]:
        yield from self.client.each(lambda question: [self._turns(question, i) for i in range(self.choices)], questions)

    def _turns(self, question: Question, seed: int) -> Turns:
        first = self._said(first_turn(question), question, seed)
        return first, self._said(second_turn(question, first), question, seed)

    def _said(self, chat: Sequence[Message], question: Question, seed: int) -> str:
        options = {"temperature": question.temperature, "max_tokens": self.max_tokens, "seed": seed, **self.parameters}
        return self.client.chat(self.model, chat, **options).text

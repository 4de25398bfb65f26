"""From the options of `alignkit eval` to models that answer and models that judge."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from alignkit.evaluation.answering import Draw, LocalAnswerer, RemoteAnswerer
from alignkit.evaluation.answers import Answerer, checked_name, file_name
from alignkit.evaluation.judges import Budget, Judge, LocalJudge, RemoteJudge
from alignkit.evaluation.questions import Questions
from alignkit.generation import Chat
from alignkit.generation.spec import Engine
from alignkit.remote import OPENAI, Cache, Client, Endpoint

EVERY = 10.0  # seconds between two lines of progress where there is no terminal


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What the command line says about asking, and the connections that follow from it."""

    cache: Cache
    key_variable: str | None
    concurrency: int
    requests_per_minute: float | None
    timeout: float
    tries: int
    choices: int
    max_new_tokens: int
    max_judgment_tokens: int
    batch_size: int
    engine: Engine
    precision: Any
    chat_template: str | None
    adapter_of: str | None
    clients: list[Client] = field(default_factory=list)

    def close(self) -> None:
        for client in self.clients:
            client.close()

    def answerers(self, models: Sequence[str], questions: Questions) -> dict[str, Answerer]:
        """{name: model that answers}. Nothing is loaded yet.

        Raises:
            ValueError: a name that occurs twice, or a model that is not there.
        """
        found: dict[str, Answerer] = {}
        for name, model, url in map(split_name, models):
            if name in found:
                raise ValueError(f"two models are called {name}; write NAME=MODEL for one of them")
            if url is None:
                found[name] = self._local(model, questions)
            else:
                client, most = self._client(url), self.max_new_tokens
                found[name] = RemoteAnswerer(client=client, model=model, choices=self.choices, max_tokens=most)
        return found

    def judge(self, text: str, budget: Budget, parameters: Mapping[str, Any]) -> Judge:
        """A judge at an endpoint that is given these parameters, too, or one on this machine. Raises ValueError."""
        name, model, url = split_name(text)
        if url is not None:
            client, most = self._client(url), self.max_judgment_tokens
            return RemoteJudge(client=client, model=model, budget=budget, max_tokens=most, parameters=parameters)
        if parameters:
            raise ValueError(f"{model} on this machine is held to no form; serve it, and write --judge {model}@URL")
        identity = {"model": model, "version": _version(model), "max_tokens": self.max_judgment_tokens}
        identity |= {"engine": self.engine}
        alone = replace(self, max_new_tokens=self.max_judgment_tokens, adapter_of=None, chat_template=None)
        return LocalJudge(name=name, load=lambda: alone.load(model), identity=identity, cache=self.cache)

    def load(self, model: str) -> Draw:
        """A model on this machine, ready to answer. Raises ValueError."""
        sampler: Any = self._vllm(model) if self.engine == "vllm" else self._transformers(model)
        if not sampler.tokenizer.chat_template:
            raise ValueError(f"{model} has no chat template, so it is no chat model; write --chat-template FILE")

        def draw(chats: Sequence[Chat], temperature: float, seed: int) -> list[str]:
            return [one for (one,) in replace(sampler, temperature=temperature, seed=seed)(chats)]

        return draw

    def _vllm(self, model: str) -> Any:
        from alignkit.generation.vllm import VLLMSampler
        from alignkit.models.spec import ModelSpec

        if self.adapter_of is not None:
            raise ValueError(f"{model} is an adapter; run alignkit merge first, or take transformers")
        spec = ModelSpec(path=model, chat_template=self.chat_template, precision=self.precision)
        return VLLMSampler.load(spec, max_new_tokens=self.max_new_tokens)

    def _transformers(self, model: str) -> Any:
        from alignkit.generation import TransformersSampler
        from alignkit.models.inference import load_for_inference

        loaded: Any
        loaded, processor = load_for_inference(
            model, base=self.adapter_of, chat_template=self.chat_template, precision=self.precision
        )
        tokenizer: Any = getattr(processor, "tokenizer", processor)  # of a model that sees images, too
        tokenizer.chat_template = processor.chat_template
        return TransformersSampler(
            model=loaded, tokenizer=tokenizer, max_new_tokens=self.max_new_tokens, batch_size=self.batch_size
        )

    def _client(self, url: str) -> Client:
        endpoint = Endpoint(
            url=OPENAI if url == "openai" else url,
            key_variable=self.key_variable,
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            timeout=self.timeout,
            tries=self.tries,
        )
        self.clients.append(Client(endpoint, cache=self.cache))
        return self.clients[-1]

    def _local(self, model: str, questions: Questions) -> LocalAnswerer:
        template = Path(self.chat_template).read_text(encoding="utf-8") if self.chat_template else None
        settings = {"model": model, "version": _version(model), "adapter_of": self.adapter_of, "template": template}
        return LocalAnswerer(
            load=lambda: self.load(model),
            questions=questions.questions,
            settings={**settings, "engine": self.engine, "max_tokens": self.max_new_tokens, "choices": self.choices},
            choices=self.choices,
            at_once=self.batch_size if self.engine == "transformers" else len(questions.questions),  # vLLM batches
        )


def split_name(text: str) -> tuple[str, str, str | None]:
    """(name, model, url) of [NAME=]MODEL[@URL]; the name is the model's last two parts where it is not given."""
    name, found, model = text.partition("=")
    if not found or "/" in name:
        name, model = "", text
    model, _, url = model.rpartition("@") if "@" in model else (model, "", "")
    short = "-".join(Path(model.rstrip("/")).parts[-2:])
    return checked_name(name or file_name(short)), model, url or None


def _version(model: str) -> str | None:
    """What tells a model from another at the same place."""
    from alignkit.models.spec import ModelSpec
    from alignkit.recipe.scoring import version_of

    return version_of(ModelSpec(path=model))


class Lines:
    """Progress on the standard error: a line that renews itself, or one every few seconds without a terminal."""

    def __init__(self) -> None:
        self.what, self.started, self.first, self.said = "", 0.0, 0, 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self.what:
            self.what, self.started, self.first, self.said = what, now, done - 1, 0.0
        left = (now - self.started) / max(done - self.first, 1) * (total - done)
        text = f"{what}: {done} of {total}" + (f", {left // 60:.0f}:{left % 60:02.0f} left" if done < total else "")
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{text}", err=True, nl=done == total)
        elif done == total or now - self.said > EVERY:
            click.echo(text, err=True)
            self.said = now

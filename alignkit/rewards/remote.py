"""A reward that another process computes, asked over HTTP."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alignkit.remote import Client, RemoteError
from alignkit.rewards._reward import Text


@dataclass(frozen=True, kw_only=True, eq=False)
class RemoteReward:
    """A `Reward` by a server that takes {prompts, completions, columns} as JSON and answers {scores: [number, ...]}.

    Prompts and completions are sent as they are, texts or lists of messages. What is no list of as many finite numbers
    is asked for again like any other failure, and never becomes a score.
    """

    client: Client
    batch: int = 64  # answers of one request
    columns: tuple[str, ...] = ()  # of the data, sent along

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor:
        """(N,). RemoteError if the server does not answer all, ValueError if the data lack a column to be sent."""
        if missing := [name for name in self.columns if name not in columns]:
            raise ValueError(f"the data lack the column {missing[0]!r}, which is to be sent; they have {[*columns]}")
        scores = torch.zeros(len(completions))
        parts = [slice(start, start + self.batch) for start in range(0, len(completions), self.batch)]
        sent = {name: columns[name] for name in self.columns}
        for part, found in self.client.each(lambda part: self._ask(part, prompts, completions, sent), parts):
            if isinstance(found, RemoteError):
                raise found
            scores[part] = torch.tensor(found)
        return scores

    def _ask(
        self, part: slice, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Sequence[Any]]
    ) -> list[float]:
        body: dict[str, Any] = {"prompts": [*prompts[part]], "completions": [*completions[part]]}
        if columns:
            body["columns"] = {name: [*values[part]] for name, values in columns.items()}
        return self.client.post(body, parse=lambda data: read_scores(data, len(body["completions"])))


def read_scores(data: Any, count: int) -> list[float]:
    """The scores of a reply. ValueError says what is wrong with it."""
    scores = data.get("scores") if isinstance(data, dict) else None
    if not isinstance(scores, list):
        raise ValueError("the reply is no {scores: [...]}")
    if len(scores) != count:
        raise ValueError(f"the reply has {len(scores)} scores for {count} answers")
    for number, score in enumerate(scores):
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise ValueError(f"the score of answer {number} is {score!r}, no finite number")
    return [float(score) for score in scores]

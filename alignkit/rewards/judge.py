"""A reward that a language model gives: the rating of a judge, asked over HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from alignkit.evaluation import Ungraded, load_prompts, read_rating
from alignkit.evaluation.prompts import Prompt
from alignkit.remote import Client, RemoteError
from alignkit.rewards._reward import RewardError, Text, shown
from alignkit.rewards._rule import text_of


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgeReward:
    """A `Reward`: a judge's rating of each answer, 1 to 10, with the prompts and the reading of `alignkit eval`.

    Prompt, answer and reference stand between fences that no text can hold, as material and not as instructions. A
    reply without one clear rating is an error that names the example, and never becomes a score.
    """

    client: Client
    model: str
    criteria: str | None = None  # what makes an answer good, in words for the judge
    reference: str | None = None  # data column with a correct answer
    max_tokens: int = 2048  # of a reply
    temperature: float = 0.0

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor:
        """(N,). RewardError names an example without a rating; ValueError if the data lack the reference's column."""
        if self.reference is not None and self.reference not in columns:
            there = ", ".join(columns) or "none"
            raise ValueError(f"the judge is shown the column {self.reference!r} as reference; the data have {there}")
        asked = []
        for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            texts = {"question": conversation(prompt), "answer": text_of(completion)}
            if self.reference is not None:
                texts["ref_answer_1"] = str(columns[self.reference][number])
            asked.append(texts)
        scores, template = torch.zeros(len(asked)), self._prompt()
        for number, found in self.client.each(lambda number: self._rating(template, asked[number]), range(len(asked))):
            if isinstance(found, RemoteError | Ungraded):
                reason = found.reason if isinstance(found, Ungraded) else str(found)
                raise RewardError(f"example {number}: {reason}: {shown(completions[number])}")
            scores[number] = found
        return scores

    def _rating(self, template: Prompt, texts: Mapping[str, str]) -> float | Ungraded:
        told = dict(texts) if self.criteria is None else {**texts, "criteria": self.criteria}
        options: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        reply = self.client.chat(self.model, template.messages(told), **options)
        found = read_rating(reply.text, shown=[*texts.values()])
        return found if isinstance(found, Ungraded) else found.value

    def _prompt(self) -> Prompt:
        own = load_prompts().by_use["single", self.reference is not None, 1]
        if self.criteria is None:
            return own
        return replace(own, template=f"{own.template}\n\nWhat makes an answer good here: {{criteria}}")


def conversation(prompt: Text) -> str:
    """A prompt as one text: a single message as it is, several with who says them."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)

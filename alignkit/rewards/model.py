"""A reward model as a callable that scores any number of answers in little memory."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alignkit.models.load import load_tokenizer
from alignkit.models.reward import load_reward_model
from alignkit.models.scoring import in_batches
from alignkit.models.shared_states import share_prompts
from alignkit.models.spec import ModelSpec
from alignkit.rewards._reward import Text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a reward model says of N answers."""

    scores: Tensor  # (N,), float32, on the CPU
    truncated: Tensor  # (N,) bool: the text was longer than the model reads, and its start was left out


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelReward:
    """A `Reward` by a model with one output, read at the last token of prompt and answer, as `RewardTrainer` trains it.

    Answers are scored in micro-batches in which those to one prompt lie together, and it is read once; neither padding
    nor the number of answers costs memory. Of a text that is longer than `max_length` the start is left out, since the
    reward is read at the end; how often is logged, and `scored` says where.
    """

    model: Any  # a sequence classifier with one output, with or without an adapter
    tokenizer: Any
    max_length: int | None = None  # tokens of prompt and answer; unset: as many as the model has positions
    batch_tokens: int = 16384  # tokens read at once

    @classmethod
    def load(cls, spec: ModelSpec, **options: Any) -> "ModelReward":
        """The reward model of a folder or Hub id. ValueError if it has no trained head."""
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
        model = load_reward_model(spec, trained=True).eval().to(device)
        return cls(model=model, tokenizer=load_tokenizer(spec), **options)

    def __post_init__(self) -> None:
        for name in ("max_length", "batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        self.model.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id  # by which the end is found
        share_prompts(self.model)

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor:
        found = self.scored(prompts, completions)
        if count := int(found.truncated.sum()):
            logger.warning("%d of %d texts are longer than %d tokens; their start is not read", count, *self._of(found))
        return found.scores

    def scored(self, prompts: Sequence[Text], completions: Sequence[Text]) -> Scored:
        """Scores, and which texts were truncated. ValueError if the prompts are not as many as the answers."""
        table, truncated = self.table(prompts, completions)
        return Scored(scores=table[0], truncated=truncated)

    @torch.no_grad()
    def table(self, prompts: Sequence[Text], completions: Sequence[Text]) -> tuple[Tensor, Tensor]:
        """Scores (M, N) of the M members that read with one backbone, here 1, and which texts were truncated, (N,)."""
        whole = [self._tokens(prompt, answer) for prompt, answer in zip(prompts, completions, strict=True)]
        limit = self._limit
        texts = [ids[-limit:] for ids in whole]
        device = next(self.model.parameters()).device
        scores: Tensor | None = None
        training = self.model.training
        self.model.eval()
        try:
            for numbers in in_batches(self.model, texts, self.batch_tokens):
                read = {"input_ids": [texts[number] for number in numbers]}
                padded = self.tokenizer.pad(read, padding_side="right", return_tensors="pt")
                found = self.read(padded.to(device)).float().cpu()
                scores = torch.zeros(len(found), len(texts)) if scores is None else scores
                scores[:, numbers] = found
        finally:
            self.model.train(training)
        truncated = torch.tensor([len(ids) > limit for ids in whole], dtype=torch.bool)
        return torch.zeros(1, 0) if scores is None else scores, truncated

    def read(self, inputs: Any) -> Tensor:
        """(M, B) of one batch."""
        return self.model(**inputs, use_cache=False).logits.squeeze(-1)[None]

    def _tokens(self, prompt: Text, answer: Text) -> list[int]:
        if isinstance(prompt, str) != isinstance(answer, str):
            raise ValueError("prompt and answer must both be plain text or both be messages")
        if isinstance(prompt, str):
            end = self.tokenizer.eos_token or ""
            return self.tokenizer(prompt + str(answer).removesuffix(end) + end)["input_ids"]
        return self.tokenizer.apply_chat_template([*prompt, *answer], tokenize=True, return_dict=True)["input_ids"]

    @property
    def _limit(self) -> int:
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return self.max_length or positions or 2**31

    def _of(self, found: Scored) -> tuple[int, int]:
        return len(found.scores), self._limit

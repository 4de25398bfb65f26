"""Sampling with transformers' own `generate`: the path that runs everywhere, CPUs included."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, TextStreamer

from alignkit.generation._sampler import Chat, Drawn


class ConversationTooLong(ValueError):
    """A chat with more tokens than the model was made for."""


@dataclass(frozen=True, kw_only=True)
class TransformersSampler:
    """A `Sampler` over a loaded model, batched by length; a prompt is read once, whatever the number of its answers.

    Equal seeds give equal answers.

    The chat template is applied here and nowhere else; its generation prompt is where training put the answer. A prompt
    that is plain text gets none.
    """

    model: Any  # PreTrainedModel or PeftModel
    tokenizer: PreTrainedTokenizerBase
    max_new_tokens: int = 256  # tokens of an answer at most
    temperature: float = 0.0  # 0 is greedy
    batch_size: int = 8  # answers generated side by side
    seed: int = 0  # of the draws

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature = {self.temperature} must be 0 (greedy) or more")

    def __call__(self, chats: Sequence[Chat], n: int = 1) -> list[list[str]]:
        return [[answer.text for answer in answers] for answers in self.draw(chats, n)]

    def draw(self, prompts: Sequence[Chat | str], n: int = 1) -> list[list[Drawn]]:
        """n answers to each prompt, with their lengths and whether they came to an end."""
        tokens = [self._prompt(prompt) for prompt in prompts]
        # the longest first: neighbours need little padding, and a batch too large fails at once
        jobs = sorted(((i, ids) for i, ids in enumerate(tokens) for _ in range(n)), key=lambda job: -len(job[1]))
        answers: list[list[Drawn]] = [[] for _ in prompts]
        with self._sampling():
            for batch in _batches(jobs, self.batch_size):
                for (i, _), answer in zip(batch, self._generate([ids for _, ids in batch]), strict=True):
                    answers[i].append(answer)
        return answers

    def stream(self, chat: Chat, write: Callable[[str], None]) -> str:
        """One answer to a chat; `write` is given its words as they come.

        Raises:
            ConversationTooLong: the chat leaves no room for an answer.
        """
        prompt = self._prompt(chat)
        reads: Any = getattr(self.model.config.get_text_config(), "max_position_embeddings", math.inf)
        if len(prompt) >= reads:
            raise ConversationTooLong(f"the conversation has {len(prompt)} tokens, and the model reads {reads}")
        shorter = replace(self, max_new_tokens=min(self.max_new_tokens, reads - len(prompt)))
        with self._sampling():
            (answer,) = shorter._generate([prompt], _Words(self.tokenizer, write))
        return answer.text

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """No dropout and no gradients, and draws of this sampler's own."""
        was_training = self.model.training
        self.model.eval()
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices), torch.inference_mode():
                torch.manual_seed(self.seed)
                yield
        finally:
            self.model.train(was_training)

    def _prompt(self, prompt: Chat | str) -> list[int]:
        encoded: Any = (
            self.tokenizer(prompt)
            if isinstance(prompt, str)
            else self.tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=True)
        )
        return list(encoded["input_ids"])

    def _generate(self, prompts: list[list[int]], streamer: TextStreamer | None = None) -> list[Drawn]:
        from alignkit.models.prefill import read_prompts  # here, since it brings peft and trl, which take seconds

        width = max(len(prompt) for prompt in prompts)
        padding, ends = self.tokenizer.pad_token_id, self._ends()
        rows = [[padding] * (width - len(prompt)) + prompt for prompt in prompts]
        ids = torch.tensor(rows, device=self.model.device)
        rows = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        mask = torch.tensor(rows, device=self.model.device)
        config = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=self.temperature > 0,
            temperature=self.temperature or None,
            top_k=None,
            top_p=None,
            pad_token_id=padding,
            eos_token_id=ends,
        )
        output = self.model.generate(
            ids,
            attention_mask=mask,
            generation_config=config,
            streamer=streamer,
            **read_prompts(self.model, ids, mask, config),
        )
        answers = output[:, width:]
        ended = torch.isin(answers, torch.tensor(ends, device=answers.device))
        lengths = torch.where(ended.any(dim=1), ended.int().argmax(dim=1) + 1, answers.shape[1]).tolist()
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        whole = ended.any(dim=1).tolist()
        return [
            Drawn(text=text, tokens=length, truncated=not end)
            for text, length, end in zip(texts, lengths, whole, strict=True)
        ]

    def _ends(self) -> list[int]:
        """Tokens that end an answer: the tokenizer's, and those the model was shipped with."""
        shipped = self.model.generation_config.eos_token_id
        shipped = shipped if isinstance(shipped, list) else [shipped]
        return sorted({end for end in [self.tokenizer.eos_token_id, *shipped] if end is not None})


class _Words(TextStreamer):
    """Hands on what is generated, a word at a time."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, write: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.write = write

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self.write(text)


def _batches(jobs: list[tuple[int, list[int]]], size: int) -> Iterator[list[tuple[int, list[int]]]]:
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]

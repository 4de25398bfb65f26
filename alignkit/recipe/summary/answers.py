"""Answers to held-out prompts, before and after training."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from transformers import ProcessorMixin

from alignkit.data.load import Data
from alignkit.generation import Chat, TransformersSampler
from alignkit.objectives import RewardObjective
from alignkit.recipe.summary.spec import SummarySpec

LOOKED_AT = 20  # rows for each prompt that is wanted: several may have the same one


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Greedy answers of the model at one moment, in the order of the prompts."""

    step: int  # optimiser steps done
    texts: tuple[str, ...]
    seconds: float  # that they took


@dataclass(frozen=True, kw_only=True)
class NoAnswers:
    """Why there are none."""

    reason: str


def prompts_for(trainer: Any, data: Data, spec: SummarySpec) -> list[Chat] | NoAnswers:
    """The held-out prompts to answer."""
    published = trainer.args.push_to_hub
    count = spec.count(published)
    if not count:
        asked = "summary.answers is 0" if spec.answers == 0 else "train.push_to_hub would publish them"
        return NoAnswers(reason=f"{asked}; write summary.answers: 4 to have them")
    if trainer.is_sharded:
        return NoAnswers(reason="the model is split over the processes (ZeRO-3 or FSDP), and one cannot answer alone")
    if isinstance(trainer.processing_class, ProcessorMixin):
        return NoAnswers(reason="the model sees images, and answers are generated from text alone")
    if isinstance(trainer.objective, RewardObjective):
        return NoAnswers(reason="a reward model writes none")
    if data.eval is None:
        return NoAnswers(reason="there are no held-out prompts; write data.eval or data.holdout")
    return held_out(data.eval, count) or NoAnswers(reason="the held-out data are plain text, not conversations")


def held_out(rows: Iterable[Mapping[str, Any]], count: int) -> list[Chat]:
    """The first `count` different prompts that are conversations and end with the user's turn."""
    chats: list[Chat] = []
    for row in islice(rows, LOOKED_AT * count):
        messages = row.get("prompt", row.get("messages"))
        turns = messages if isinstance(messages, list) else []
        last = max((place for place, turn in enumerate(turns) if turn["role"] == "user"), default=-1)
        chat = turns[: last + 1]
        if chat and chat not in chats and len(chats) < count:
            chats.append(chat)
    return chats


def answered(trainer: Any, chats: list[Chat], spec: SummarySpec) -> Answers | NoAnswers:
    """Answers of the trainer's model as it is now."""
    sampler = TransformersSampler(
        model=trainer.model, tokenizer=trainer.processing_class, max_new_tokens=spec.max_new_tokens
    )
    started = time.monotonic()
    try:
        with trainer.compute_loss_context_manager():  # the arithmetic of training: autocast where it has that
            texts = tuple(answers[0] for answers in sampler(chats))
    except Exception as error:  # out of memory, a template that cannot ask: no page is worth a run
        return NoAnswers(reason=f"generating them failed: {type(error).__name__}: {error}")
    return Answers(step=trainer.state.global_step, texts=texts, seconds=time.monotonic() - started)

"""Answers that a model improves on by itself, round after round."""

from collections.abc import Callable, Iterator

from alignkit.generation._sampler import Chat, Sampler


def drafts(sampler: Sampler, prompt: Callable[[Chat, str], Chat], chat: Chat, rounds: int) -> Iterator[str]:
    """An answer, then `rounds` revisions: each is drawn given the one before and none of the earlier ones.

    `prompt` makes a chat and a draft of its answer the chat that asks for a better one.

    Source: Choi et al. 2024, arXiv:2406.01660, whose models are evaluated after up to 5 revisions.
    """
    draft = sampler([chat])[0][0]
    yield draft
    for _ in range(rounds):
        draft = sampler([prompt(chat, draft)])[0][0]
        yield draft

"""Answers that a model improves on by itself, round after round."""

from collections.abc import Iterator

from alignkit.data.revision import RevisionPrompt
from alignkit.generation._sampler import Chat, Sampler


def drafts(sampler: Sampler, prompt: RevisionPrompt, chat: Chat, rounds: int) -> Iterator[str]:
    """An answer, then `rounds` revisions: each is drawn given the one before and none of the earlier ones.

    Source: Choi et al. 2024, arXiv:2406.01660, whose models are evaluated after up to 5 revisions.
    """
    draft = sampler([chat])[0][0]
    yield draft
    for _ in range(rounds):
        draft = sampler([prompt(chat, draft)])[0][0]  # type: ignore[list-item]  # of messages it makes messages
        yield draft

"""Mean log-probability per answer token, of many answers by one frozen model."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alignkit.models.forward import IGNORED, answer_logps
from alignkit.models.sharing import can_pack

Scored = tuple[NDArray[np.int32], NDArray[np.bool_]]  # tokens, and which of them are scored


def mean_logps(model: nn.Module, texts: Sequence[Scored], padding: int) -> list[float]:
    """Mean log-probability of the scored tokens of each text, in nats; NaN where none can be scored.

    The first token of a text has nothing before it and is never scored, as in training.
    """
    width = max(len(ids) for ids, _ in texts)
    inputs = torch.full((len(texts), width), padding)
    labels = torch.full((len(texts), width), IGNORED)
    attention = torch.zeros((len(texts), width), dtype=torch.long)
    for row, (ids, scored) in enumerate(texts):
        tokens = torch.from_numpy(ids.astype(np.int64))
        inputs[row, : len(ids)] = tokens
        attention[row, : len(ids)] = 1
        labels[row, : len(ids)] = tokens.masked_fill(~torch.from_numpy(scored), IGNORED)
    device = next(model.parameters()).device
    batch = {"input_ids": inputs, "attention_mask": attention, "labels": labels}
    with torch.no_grad():
        answers = answer_logps(
            model, {name: value.to(device) for name, value in batch.items()}, shared_prefix=True, fields=()
        )
    return (answers.logps.double().sum(dim=1) / answers.mask.sum(dim=1)).tolist()


def in_batches(model: nn.Module, texts: Sequence[Sequence[int] | NDArray[np.int32]], most: int) -> Iterator[list[int]]:
    """Numbers of texts in batches of at most `most` tokens, as this model reads them fastest."""
    if not can_pack(model):
        yield from by_length([len(text) for text in texts], most)
        return
    batch: list[int] = []
    tokens = 0
    # those that begin alike lie side by side; most significant bytes first, bytes are in the order of tokens
    for number in sorted(range(len(texts)), key=lambda number: np.asarray(texts[number], dtype=">i4").tobytes()):
        if batch and tokens + len(texts[number]) > most:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += len(texts[number])
    if batch:
        yield batch


def by_length(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Numbers of texts in batches of at most `most` tokens, padding counted; the longest first, so that a batch too
    large for the memory fails at once."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > most:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch

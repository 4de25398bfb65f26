"""Mean log-probabilities, against the whole softmax."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from alignkit.models.scoring import by_length, in_batches, mean_logps
from alignkit.models.sources import resolve


def text(ids, first):
    """Tokens of which those from `first` on are scored."""
    return np.array(ids, dtype=np.int32), np.arange(len(ids)) >= first


TEXTS = [text([5, 6, 7, 8], 2), text([9, 10], 1), text([11, 12, 13, 14, 15, 16, 17], 3), text([5, 5, 5], 0)]


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(resolve("tiny:llama")).eval()


def by_hand(model, ids, scored):
    with torch.no_grad():
        logps = model(input_ids=torch.tensor(ids[None].astype(np.int64))).logits[0].log_softmax(dim=-1)
    found = [logps[t - 1, ids[t]].item() for t in range(1, len(ids)) if scored[t]]
    return sum(found) / len(found)


def test_scores_are_means_over_the_scored_tokens_in_any_batch(model):
    expected = [by_hand(model, *one) for one in TEXTS]
    assert mean_logps(model, TEXTS, padding=0) == pytest.approx(expected, rel=1e-5)
    assert [mean_logps(model, [one], padding=3)[0] for one in TEXTS] == pytest.approx(expected, rel=1e-5)


def test_nothing_to_score_is_no_number(model):
    assert math.isnan(mean_logps(model, [text([4, 5], 2)], padding=0)[0])


def test_batches_start_with_the_longest_and_hold_their_tokens():
    lengths = [3, 9, 4, 4, 1, 2]
    batches = list(by_length(lengths, 10))
    assert batches[0] == [1]
    assert sorted(number for batch in batches for number in batch) == list(range(6))
    assert all(len(batch) * max(lengths[number] for number in batch) <= 10 for batch in batches)
    assert list(by_length([50, 50], 10)) == [[0], [1]]  # one is always read, whatever its length
    assert list(by_length([], 10)) == []


def test_texts_that_begin_alike_are_read_together(model):
    texts = [[1, 2, 3], [9], [1, 2], [9, 9, 9, 9], [1, 2, 4]]
    assert list(in_batches(model, texts, 6)) == [[2, 0], [4, 1], [3]]
    assert list(in_batches(model, texts, 1)) == [[2], [0], [4], [1], [3]]  # one is always read, whatever its length
    assert list(in_batches(model, [], 6)) == []


def test_a_model_that_cannot_pack_reads_texts_of_like_lengths_together(model, monkeypatch):
    monkeypatch.setattr(model.config, "model_type", "unknown")
    assert list(in_batches(model, [[1, 2], [9], [1, 2, 4]], 4)) == [[2], [0, 1]]

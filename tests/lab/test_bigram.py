import numpy as np
import pytest
import torch
from torch.testing import assert_close

from alignkit.lab import _bigram
from alignkit.lab._bigram import Language, Texts, average_divergence, average_zeros, train
from alignkit.lab.bigram import Bigram
from alignkit.objectives import make

LANGUAGE = Language.draw(21, np.random.default_rng(0))
TEXTS = LANGUAGE.texts(3000, np.random.default_rng(1))

# Recorded by running the official compare_parameters; rows and columns that it drops are left out.
LEARNED = np.array(
    [
        [0.055417177112803584, 0.3060515653231901, 0.05647102088511389, 0.04113904217563042],
        [0.05123680662197121, 0.19499894593953537, 0.4724373535720172, 0.19853375838752288],
        [0.4981964114032375, 0.1275931134564669, 0.11838977982485428, 0.07397738213625972],
        [0.3946264123712038, 0.03187240300775451, 0.3545596247955852, 0.18197704011287688],
    ]
)
TRUE = np.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.0, 0.2, 0.3], [0.1, 0.6, 0.0, 0.3], [0.0, 0.3, 0.3, 0.4]])


def test_metrics_are_the_official_ones():
    assert average_divergence(LEARNED, TRUE) == pytest.approx(0.19547218653540305, abs=1e-12)
    assert average_zeros(LEARNED, TRUE) == pytest.approx(0.2360050460451978, abs=1e-12)


def test_divergence_is_0_for_equals_and_log_2_for_strangers():
    assert average_divergence(TRUE, TRUE) == 0
    assert average_divergence(np.eye(2), 1 - np.eye(2)) == pytest.approx(np.log(2))


def test_a_language_has_uniform_beginnings_half_its_transitions_and_no_way_back():
    table = LANGUAGE.table
    assert table.shape == (20, 21)
    assert np.allclose(table.sum(axis=1), 1)
    assert np.allclose(table[0, 1:], 1 / 20)
    assert (table[:, 0] == 0).all()
    assert (table[:, -1] > 0).all()
    assert 0.4 < (table[1:, 1:-1] == 0).mean() < 0.6


def test_texts_begin_at_0_end_once_and_follow_the_table():
    lengths = np.bincount(TEXTS.text)
    assert len(lengths) == TEXTS.number == 3000
    assert (TEXTS.before == 0).sum() == (TEXTS.after == 20).sum() == 3000
    counts = TEXTS.counts(21).numpy()
    assert counts[:-1][LANGUAGE.table == 0].sum() == 0
    assert counts[-1].sum() == 0
    seen = counts[:-1].sum(axis=1, keepdims=True)
    error = np.abs(counts[:-1] / seen - LANGUAGE.table) * np.sqrt(seen)
    assert error.max() < 0.5 * 4.5  # a frequency's standard deviation is at most 1/2 over the root of the number


def test_a_text_that_does_not_end_is_made_to():
    table = np.array([[0, 1, 0], [0, 1, 0]], dtype=float)
    texts = Language(table).texts(2, np.random.default_rng(0))
    assert np.bincount(texts.text).tolist() == [500, 500]
    assert texts.counts(3).tolist() == [[0, 2, 0], [0, 2 * 498, 2], [0, 0, 0]]


def test_batches_are_all_transitions_of_shuffled_texts(monkeypatch):
    monkeypatch.setattr(_bigram, "BATCH", 1000)
    batches = list(TEXTS.batches(np.random.default_rng(0)))
    assert [(before == 0).sum().item() for before, _ in batches] == [1000] * 3
    before, after = (torch.cat(side) for side in zip(*batches, strict=True))
    assert_close(torch.bincount(before * 21 + after, minlength=441).view(21, 21).double(), TEXTS.counts(21))
    again = next(iter(TEXTS.batches(np.random.default_rng(1))))
    assert len(again[0]) != len(batches[0][0])


def test_incomplete_batches_are_left_out():
    few = LANGUAGE.texts(1500, np.random.default_rng(0))
    assert [(before == 0).sum().item() for before, _ in few.batches(np.random.default_rng(0))] == [1000]
    fewer = LANGUAGE.texts(30, np.random.default_rng(0))
    assert [(before == 0).sum().item() for before, _ in fewer.batches(np.random.default_rng(0))] == [30]


def test_training_repeats_leaves_the_generator_alone_and_learns():
    held_out = LANGUAGE.texts(500, np.random.default_rng(2))
    state = torch.get_rng_state()
    learned = train(make("mixce", eta=1), TEXTS, held_out, 21, epochs=6, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(learned, train(make("mixce", eta=1), TEXTS, held_out, 21, epochs=6, seed=3))
    untrained = train(make("mixce", eta=1), TEXTS, held_out, 21, epochs=0, seed=3)
    assert_close(learned.sum(dim=1), torch.ones(21, dtype=torch.float64))
    errors = [average_divergence(table.numpy()[:-1, 1:], LANGUAGE.table[:, 1:]) for table in (learned, untrained)]
    assert errors[0] < 0.9 * errors[1]


def test_training_stops_without_progress_and_keeps_the_best_epoch(monkeypatch):
    epochs = []

    def batches(self: Texts, random: np.random.Generator):
        epochs.append(len(epochs))
        return iter(())  # nothing is learned

    monkeypatch.setattr(Texts, "batches", batches)
    train(make("nll"), TEXTS, TEXTS, 21, epochs=50, seed=0)
    assert len(epochs) == 1 + 5


def test_recorded_figures_are_compared_in_the_published_set_up_alone():
    rows = [
        [row["recorded_avg_js"] for row in [one._row(1.0, [(7e-4, 1e-4, 0.0)])]] for one in (Bigram(), Bigram(epochs=9))
    ]
    assert rows == [[7.42e-4], [None]]

import numpy as np
from datasets import Dataset

from alignkit.data import noise

PAIRS = Dataset.from_list(
    [
        {
            "prompt": f"q{i}",
            "chosen": f"a{i}",
            "rejected": f"b{i}",
            "score_chosen": i,
            "score_rejected": -i,
            "flip_rate": 0.5,
        }
        for i in range(6)
    ]
)


def test_the_drawn_rows_are_a_seeded_fraction_of_the_different_rows():
    rows = np.tile(np.arange(100), 3)
    drawn = noise.drawn(rows, 0.25, seed=0)
    assert len(drawn) == len(set(drawn)) == 25
    assert drawn.tolist() == sorted(drawn)
    assert drawn.tolist() == noise.drawn(rows[::-1], 0.25, seed=0).tolist()
    assert drawn.tolist() != noise.drawn(rows, 0.25, seed=1).tolist()
    assert noise.drawn(rows, 0.0, seed=0).tolist() == []
    assert noise.drawn(rows, 1.0, seed=0).tolist() == list(range(100))


def test_pairs_are_turned_with_their_scores_and_nothing_else():
    picked = noise.picked(PAIRS, np.array([3, 1, 3]), np.array([3]))
    turned = {**PAIRS[3], "chosen": "b3", "rejected": "a3", "score_chosen": -3, "score_rejected": 3}
    assert picked.to_list() == [turned, PAIRS[1], turned]
    assert picked.features == PAIRS.features


def test_without_noise_rows_are_as_they_were():
    assert noise.picked(PAIRS, np.array([4, 0]), np.array([], dtype=int)).to_list() == [PAIRS[4], PAIRS[0]]


def test_of_unpaired_rows_the_label_is_negated():
    rows = Dataset.from_list([{"prompt": "q", "completion": "a", "label": label} for label in (True, False, None)])
    picked = noise.picked(rows, np.array([0, 1, 2]), np.array([0, 1, 2]))
    assert picked["label"][:] == [False, True, None]
    assert picked.features == rows.features

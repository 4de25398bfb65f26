import pytest
from matplotlib.figure import Figure

from alignkit.studies.reinforcement import METHODS, PANELS, Reinforcement


def rows_of(method, *success, seed=0):
    return [
        {"method": method, "seed": seed, "update": 20 * number, "success": value, "entropy": 1.0, "kl": 0.1 * number}
        for number, value in enumerate(success)
    ]


def test_every_method_rises_with_every_seed_or_the_claim_fails():
    study = Reinforcement(methods=("grpo",), seeds=(0, 1))
    good = rows_of("grpo", 0.2, 0.5, 0.8) + rows_of("grpo", 0.1, 0.6, 0.75, seed=1)
    assert [claim.holds for claim in study.claims(good)] == [True, True]
    early = rows_of("grpo", 0.2, 0.5, 0.8) + rows_of("grpo", 0.4, 0.6, 0.9, seed=1)
    assert [claim.holds for claim in study.claims(early)] == [False, True]
    late = rows_of("grpo", 0.2, 0.9, 0.6) + rows_of("grpo", 0.1, 0.6, 0.75, seed=1)
    assert [claim.holds for claim in study.claims(late)] == [True, False]


def test_curves_of_all_methods_are_drawn_side_by_side():
    rows = [row for method in METHODS for row in rows_of(method, 0.2, 0.8)]
    figure = Figure()
    Reinforcement().draw(figure, rows)
    assert [axes.get_title() for axes in figure.axes] == [*PANELS.values()]
    assert [text.get_text() for text in figure.axes[-1].get_legend().get_texts()] == [*METHODS]


def test_bad_settings():
    with pytest.raises(ValueError, match=r"^methods: 'ppo' is not among grpo, disco, gvpo$"):
        Reinforcement(methods=("ppo",))
    with pytest.raises(ValueError, match=r"^updates = 35 must be a multiple of every = 10$"):
        Reinforcement(updates=35)


@pytest.mark.smoke
def test_a_short_run_measures_from_the_supervised_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = Reinforcement(methods=("gvpo",), supervised=2, updates=2, every=1, tasks=128, held_out=16)
    rows = study.rows()
    assert [row["update"] for row in rows] == [0, 1, 2]
    assert {(row["method"], row["seed"]) for row in rows} == {("gvpo", 0)}
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert all(0 <= row["success"] <= 1 and 0 < row["entropy"] < 6 for row in rows)

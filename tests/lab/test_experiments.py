"""Every experiment in its shortest form: the claim holds; and where the numbers say otherwise, it is said to fail."""

from dataclasses import fields

import pytest

from alignkit import lab
from alignkit.lab import _bigram
from alignkit.lab._cases import with_optimum, without_optimum
from tests.objectives.properties import assert_refuses

SHORT = {
    "behavior": {"alphas": 0.5},
    "bigram": {"etas": (1.0, 0.1), "vocabulary": 8, "texts": 4000, "epochs": 10},
    "calibration": {"gammas": (0.5, 1), "steps": 200},
    "collapse": {"taus": (0.1, 1.0), "steps": 100},
    "entropy": {"answers": 6, "alphas": (0.5, 1.0, 2.0)},
    "groups": {"starts": 1, "shares": (0.02, 0.5)},
    "label_noise": {"rates": (0.0, 0.4), "labels": 4000, "seeds": 3},
    "optima": {"starts": 1},
}


def test_every_experiment_is_here():
    assert list(SHORT) == lab.names()


@pytest.fixture(scope="module")
def results():
    """Results by name, computed when first asked for."""
    done = {}

    def result(name: str) -> lab.Result:
        if name not in done:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(_bigram, "BATCH", 100)  # more steps from fewer texts
                done[name] = lab.make(name, **SHORT[name]).run()
        return done[name]

    return result


@pytest.mark.parametrize("name", SHORT)
def test_the_claims_hold(results, name):
    result = results(name)
    assert result.experiment == name
    assert len(result.claims) >= 2
    assert [claim for claim in result.claims if not claim.holds] == []
    assert all(list(row) == list(result.rows[0]) for row in result.rows)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("behavior", "moved", 1e-3),
        ("behavior", "error", 1e-3),
        ("bigram", "avg_js", 1.0),
        ("calibration", "from_theory", 1e-3),
        ("calibration", "error", 1e-3),
        ("collapse", "ipo_error", 1e-3),
        ("collapse", "dpo_optimum", True),
        ("collapse", "dpo_gap_late", 0.0),
        ("entropy", "error", 1e-3),
        ("entropy", "entropy", 1.0),
        ("entropy", "from_dpo", 1e-3),
        ("groups", "error", 1e-1),
        ("label_noise", "exact", 1e-3),
        ("label_noise", "deviation", 1e-3),
        ("optima", "error", 1e-3),
    ],
)
def test_a_claim_fails_when_its_numbers_are_wrong(results, name, column, value):
    result = results(name)
    rows = [{**row, column: value if row[column] is not None else None} for row in result.rows]
    assert not all(claim.holds for claim in lab.make(name, **SHORT[name]).claims(rows))


@pytest.mark.parametrize("name", SHORT)
def test_the_complete_run_is_made_of_settings_that_exist(name):
    cls = lab.find(name)
    assert set(cls.full) <= {field.name for field in fields(cls)}
    assert lab.make(name, full=True) == lab.make(name, **cls.full)


def test_optima_cover_every_method_that_learns_from_fixed_data():
    covered = {type(case.objective).__module__.rpartition(".")[2] for case in (*with_optimum(), *without_optimum())}
    methods = {"dpo", "hdpo", "ipo", "kto", "mixce", "mmpo", "napo", "nll", "poft", "robust_dpo", "srpo"}
    assert methods == covered


def test_label_noise_counts_data_sets_without_an_optimum():
    """Four labels cannot rank five answers."""
    experiment = lab.make("label_noise", labels=4, seeds=2)
    dpo = experiment._row(0.0, *next(experiment._methods(0.0)))
    assert (dpo["method"], dpo["without_optimum"]) == ("dpo", 2)
    assert dpo["mean"] is None
    assert dpo["exact"] < 1e-12


def test_settings_that_no_claim_could_be_made_of():
    assert_refuses("rates = [0.1] must be two or more, increasing from 0 up", lab.make, "label_noise", rates=0.1)
    assert_refuses("seeds = 1 gives no error bar; write 2 or more", lab.make, "label_noise", seeds=1)
    assert_refuses("alphas = [1.0] must be two or more, in increasing order", lab.make, "entropy", alphas=1)
    assert_refuses("gammas = [0.5] must hold the truth, 1.0", lab.make, "calibration", gammas=0.5)
    words = "vocabulary = 3 leaves no words beside beginning and end; write 4 or more"
    assert_refuses(words, lab.make, "bigram", vocabulary=3)
    assert_refuses("texts = 9 leaves none to hold out; write 10 or more", lab.make, "bigram", texts=9)


def test_names_and_settings_are_checked():
    assert_refuses("no experiment named 'optimum'; did you mean 'optima'?", lab.make, "optimum")
    assert_refuses("Optima has no 'start'; did you mean 'starts'?", lab.make, "optima", start=1)
    assert_refuses("no experiment has 'startss'; did you mean 'starts'?", lab.make_all, startss=1)


def test_all_of_them_take_the_settings_they_have():
    made = lab.make_all(beta=0.25)
    assert list(made) == lab.names()
    assert {name for name, one in made.items() if getattr(one, "beta", None) == 0.25} >= {"behavior", "entropy"}
    assert made["optima"] == lab.make("optima")
    assert lab.make_all(full=True)["optima"] == lab.make("optima", full=True)

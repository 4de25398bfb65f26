"""alignkit study: listing, running, and mistakes; what a study says is tested beside it."""

import json
from dataclasses import dataclass

import pytest

from alignkit import studies
from alignkit.lab import Experiment
from alignkit.lab._experiment import above
from tests.cli.commands import invoke


@dataclass(frozen=True, kw_only=True)
class Doubling(Experiment):
    """A number doubles."""

    times: tuple[int, ...] = (1, 2, 3)

    def rows(self):
        return [{"time": time, "value": 2**time} for time in self.times]

    def shown(self, rows):
        return rows[-1:]

    def claims(self, rows):
        return [above("last", rows[-1]["value"], 3)]

    def draw(self, figure, rows):
        figure.subplots().plot([row["value"] for row in rows])


DOUBLING = f"{__name__}.Doubling"


def test_list_shows_every_study_with_its_settings():
    result = invoke("study", "list")
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if line and not line.startswith(" ")] == studies.names()
    assert "settings: worlds=features,text flips=0.0,0.25 coefficients=0.5,2.0,8.0" in result.output
    assert {"overoptimization", "reinforcement"} <= {*studies.names()}


def test_help_names_the_studies_and_each_has_its_own():
    assert "list, " + ", ".join(studies.names()) in invoke("study", "--help").output
    result = invoke("study", "overoptimization", "--help")
    assert result.exit_code == 0
    assert "Usage: main study overoptimization" in result.output


def test_a_run_prints_what_is_shown_and_writes_everything(tmp_path):
    result = invoke("study", DOUBLING, "times=1,2", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "holds  last (above 3): 4" in result.output
    assert "│    1 │" not in result.output
    assert [row["time"] for row in json.loads((tmp_path / "test_study.json").read_text())["rows"]] == [1, 2]
    assert (tmp_path / "test_study.png").is_file()


def test_a_claim_that_fails_is_exit_code_1(tmp_path):
    assert invoke("study", DOUBLING, "times=1", "--out", str(tmp_path)).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["overoptimisation"], "no experiment named 'overoptimisation'; did you mean 'overoptimization'?"),
        (["overoptimization", "seed=1"], "Overoptimization has no 'seed'; did you mean 'seeds'?"),
        (["overoptimization", "seeds"], "'seeds' is no setting; write key=value, such as starts=5"),
    ],
)
def test_mistakes_are_exit_code_2_and_say_what_to_write(arguments, message):
    result = invoke("study", *arguments)
    assert result.exit_code == 2
    assert f"error: {message}" in result.stderr

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
from click.testing import CliRunner
from PIL import Image

from alignkit import lab
from alignkit.cli.lab import command
from alignkit.lab import Experiment
from alignkit.lab._experiment import above, below


@dataclass(frozen=True, kw_only=True)
class Slope(Experiment):
    """A number is larger than it is.

    This is not shown in a list.
    """

    full: ClassVar = {"steps": (1, 2, 3)}

    steps: tuple[int, ...] = (1, 2)
    scale: float = 1.0

    def rows(self):
        return [{"step": step, "value": self.scale * step, "kind": "a" if step > 1 else None} for step in self.steps]

    def claims(self, rows):
        return [above("first", rows[0]["value"], 0), below("last", rows[-1]["value"], 2.5)]

    def draw(self, figure, rows):
        figure.subplots().plot([row["step"] for row in rows], [row["value"] for row in rows])


SLOPE = f"{__name__}.Slope"


def invoke(*arguments: str):
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_list_shows_claims_and_settings():
    result = invoke("list")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == lab.names()
    assert "    settings: starts=3 spread=3.0 seed=0" in lines
    assert "    --full: starts=20" in lines
    assert any("reaches" in line or "closed-form optimum" in line for line in lines)


def test_run_prints_a_table_and_writes_its_files(tmp_path):
    result = invoke("run", SLOPE, "--out", str(tmp_path / "new"), "scale=0.5")
    assert result.exit_code == 0
    assert "holds  first (above 0): 0.5" in result.output
    assert "holds  last (below 2.5): 1" in result.output
    written = json.loads((tmp_path / "new" / "test_lab.json").read_text())
    assert written["settings"] == {"steps": [1, 2], "scale": 0.5}
    assert written["rows"] == [{"step": 1, "value": 0.5, "kind": None}, {"step": 2, "value": 1.0, "kind": "a"}]
    assert written["claims"][1] == {"text": "last (below 2.5)", "holds": True, "measured": 1.0}
    assert {"experiment", "date", "seconds", "alignkit", "torch", "python"} <= set(written)
    with Image.open(tmp_path / "new" / "test_lab.png") as picture:
        assert picture.size == (1080, 600)


def test_a_claim_that_fails_is_exit_code_1(tmp_path):
    result = invoke("run", SLOPE, "--full", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "FAILS  last (below 2.5): 3" in result.output
    assert json.loads((tmp_path / "test_lab.json").read_text())["claims"][1]["holds"] is False


@pytest.mark.parametrize(("given", "steps"), [("steps=2", [2]), ("steps=2,1", [2, 1]), ("steps=[1]", [1])])
def test_one_number_or_several(tmp_path, given, steps):
    assert invoke("run", SLOPE, given, "--out", str(tmp_path)).exit_code == 0
    assert json.loads((tmp_path / "test_lab.json").read_text())["settings"]["steps"] == steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimum"], "no experiment named 'optimum'; did you mean 'optima'?"),
        (["optima", "start=1"], "Optima has no 'start'; did you mean 'starts'?"),
        (["optima", "starts"], "'starts' is no setting; write key=value, such as starts=5"),
        (["optima", "starts=few"], "Optima: starts = 'few': input should be a valid integer"),
        (["all", "startss=1"], "no experiment has 'startss'; did you mean 'starts'?"),
        (["entropy", "beta=-1"], "beta = -1.0 must be a finite number above 0"),
    ],
)
def test_mistakes_are_exit_code_2_and_say_what_to_write(tmp_path, arguments, message):
    result = invoke("run", *arguments, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_all_runs_every_experiment(tmp_path, monkeypatch):
    monkeypatch.setattr(
        lab, "make_all", lambda full, **given: {"one": Slope(**given), "two": Slope(steps=(1,), **given)}
    )
    result = invoke("run", "all", "scale=0.25", "--out", str(tmp_path))
    assert result.exit_code == 0
    assert result.output.count("holds  first (above 0): 0.25") == 2


@pytest.mark.parametrize("name", ["behavior", "collapse"])
def test_shipped_experiments_draw(tmp_path, name):
    short = {"behavior": ["alphas=0.5"], "collapse": ["taus=1", "steps=20"]}
    assert invoke("run", name, *short[name], "--out", str(tmp_path)).exit_code == 0
    assert (tmp_path / f"{name}.png").stat().st_size > 5000

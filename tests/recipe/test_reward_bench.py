"""RewardBench by a scripted reward: the number an answer ends with."""

import json

import pytest
import torch
from click.testing import CliRunner

from alignkit.cli import main
from alignkit.rewards.model import ModelReward, Scored


class Scripted:
    def __init__(self):
        self.prompts = []

    def scored(self, prompts, completions):
        self.prompts += prompts
        scores = [float(answer[-1]["content"].split()[-1]) for answer in completions]
        return Scored(scores=torch.tensor(scores), truncated=torch.tensor([score > 90 for score in scores]))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reward = Scripted()
    monkeypatch.setattr(ModelReward, "load", lambda *_, **options: reward)

    def bench(rows, *args):
        with open("rows.jsonl", "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        result = CliRunner().invoke(main, ["reward", "bench", "x", "--data", "rows.jsonl", "-o", "out.json", *args])
        found = json.loads((tmp_path / "out.json").read_text()) if result.exit_code == 0 else None
        return result, found, reward.prompts

    return bench


def v1(subset, chosen, rejected):
    return {"prompt": "q", "chosen": f"a {chosen}", "rejected": f"a {rejected}", "subset": subset, "id": 1}


def v2(subset, correct, wrong, id="1"):
    return {
        "prompt": "q",
        "chosen": [f"a {s}" for s in correct],
        "rejected": [f"a {s}" for s in wrong],
        "subset": subset,
        "id": id,
    }


def test_version_1(run):
    rows = [v1("hep-cpp", 2, 1), v1("hep-cpp", 1, 1), v1("math-prm", 99, 1), v1("mine", 0, 1)]
    result, found, prompts = run(rows)
    assert result.exit_code == 0, result.output
    assert found["version"] == "v1"
    assert found["subsets"] == {"hep-cpp": 0.5, "math-prm": 1.0, "mine": 0.0}
    assert found["examples"] == {"hep-cpp": 2, "math-prm": 1, "mine": 1}
    assert found["sections"] == {"Reasoning": pytest.approx((82 + 984) / (164 + 984))}
    assert found["average"] == found["sections"]["Reasoning"]
    assert found["truncated"] == 1
    assert prompts[0] == [{"role": "user", "content": "q"}]
    for line in ("RewardBench v1", "hep-cpp", "Reasoning                   0.9286", "1 answers are too long"):
        assert line in result.output


def test_conversations_are_taken_as_they_are(run):
    asked = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}]
    row = {name: [*asked, {"role": "assistant", "content": f"a {n}"}] for name, n in (("chosen", 2), ("rejected", 1))}
    _, found, prompts = run([row])
    assert (found["subsets"], found["average"]) == ({"all": 1.0}, None)
    assert prompts == [asked, asked]


def test_version_2(run):
    rows = [v2("Math", [3], [1, 2, 0]), v2("Math", [3], [3, 2, 0]), v2("Focus", [1], [3, 2, 0])]
    rows += [v2("Ties", [4], [1, 2], "ref:1"), v2("Ties", [4, 4], [1, 2], "tied:1")]
    result, found, _ = run(rows)
    assert found["subsets"] == {"Math": 0.75, "Focus": 0.0, "Ties": pytest.approx(1.01)}
    assert found["average"] == pytest.approx((0.75 + 1.01) / 3)
    assert (found["version"], found["sections"]) == ("v2", {})
    assert "average" in result.output


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([v1("a", 1, 0), v2("a", [1], [0])], "rows.jsonl:1 has one chosen answer and rows.jsonl:2 a list of them"),
        ([{"prompt": "q", "chosen": "a 1"}], "rows.jsonl:1: missing field: rejected"),
        ([{"chosen": "a 1", "rejected": "a 0"}], "rows.jsonl:1: missing field: prompt"),
        ([{**v1("a", 1, 0), "chosen": " "}], "rows.jsonl:1: empty answer"),
        ([v2("a", [1], [])], "rows.jsonl:1: not a list of answers"),
        ([v2("Ties", [1], [0], "x")], "id 'x' of the subset Ties should be ref:NUMBER or tied:NUMBER"),
    ],
)
def test_bad_rows_are_named(run, rows, message):
    result, _, _ = run(rows)
    assert result.exit_code == 2
    assert message in result.output

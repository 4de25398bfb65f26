"""alignkit sample: what it says of what it drew; the rest is tested with the recipe."""

import json
from pathlib import Path

from alignkit.cli.sample import _lines
from alignkit.recipe.sample_sets import Counts, Outcome, Point
from tests.cli.commands import invoke


def test_a_shipped_recipe_is_sampled_from(tmp_path):
    options = ["sample.n=2", "sample.max_new_tokens=4", "sample.limit=3"]
    result = invoke("sample", "grpo/tiny", *options, "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("3 prompts, 6 answers: ")
    assert "3 of 3 prompts" in result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("  n    1")]
    curve = json.loads((tmp_path / "best_of_n.json").read_text())["curve"]
    assert f"{curve[0]['reward']:.3f} ± {curve[0]['error']:.3f}   0.00 nats" in line


def test_what_gave_nothing_is_said():
    counts = Counts(
        prompts=9,
        answers=72,
        truncated=1,
        empty=2,
        best=3,
        pairs=4,
        unusable=5,
        below=1,
        single=3,
        tied=2,
        dropped={"judge": 6},
    )
    points = [Point(n=n, kl=0.5, reward=1.25, error=None, members={}) for n in range(1, 7)]
    said = _lines(Outcome(folder=Path("out"), counts=counts, curve=points))
    assert said[:9] == [
        "9 prompts, 72 answers: 1 truncated, 2 empty",
        "out/best.jsonl: 3 answers",
        "out/pairs.jsonl: 4 pairs",
        "5 prompts have no answer to train on: all are empty or truncated",
        "1 prompts have no answer of min_score",
        "3 prompts give no pair: they have one answer to train on",
        "2 prompts give no pair: all their answers have one reward",
        "judge scored no answers to 6 prompts",
        "best of n by the reward, over all answers; KL at most:",
    ]
    assert [line.split()[1] for line in said[9:]] == ["1", "2", "4", "6"]


def test_a_recipe_without_a_reward_is_refused(tmp_path):
    result = invoke("sample", "nll/tiny", "-o", str(tmp_path))
    assert result.exit_code == 2
    assert "error: the recipe has no reward to choose answers by; write reward: {members:" in result.stderr

"""What is kept of scored answers, and what is counted where nothing is."""

import json

import pytest

from alignkit.generation.spec import SampleSpec
from alignkit.recipe.sample_sets import Chosen, choose, curve_of, write_sets
from alignkit.rewards import best_of_n, kl_bound

CHAT = [{"role": "user", "content": "q"}]


def row(answers, scores, truncated=(), prompt="q", **members):
    cut = [number in truncated for number in range(len(answers))]
    named = members or {"only": scores}
    tokens = [len(answer) for answer in answers]
    found = {"prompt": prompt, "answers": answers, "scores": scores, "members": named}
    return {**found, "tokens": tokens, "truncated": cut}


@pytest.mark.parametrize(
    ("found", "truncated", "usable", "best", "worst"),
    [
        (row(["a", "b", "c"], [0.0, 2.0, -1.0]), "drop", 3, 1, 2),
        (row(["a", "b", "c"], [0.0, 2.0, -1.0], truncated=[1]), "drop", 2, 0, 2),
        (row(["a", "b", "c"], [0.0, 2.0, -1.0], truncated=[1]), "keep", 3, 1, 2),
        (row(["a", " ", "c"], [0.0, 2.0, -1.0]), "keep", 2, 0, 2),
        (row(["a", "b", "c"], [1.0, 1.0, 1.0]), "drop", 3, 0, None),  # a tie
        (row(["a", "a", "a"], [1.0, 1.5, 1.2]), "drop", 3, 1, None),  # a reward that does not know what it wants
        (row(["a", "b"], [1.0, 2.0], truncated=[0]), "drop", 1, 1, None),
        (row(["a", ""], [1.0, 2.0], truncated=[0]), "drop", 0, None, None),
    ],
)
def test_best_and_worst_are_among_answers_that_can_be_trained_on(found, truncated, usable, best, worst):
    assert choose(found, SampleSpec(truncated=truncated)) == Chosen(usable=usable, best=best, worst=worst)


def test_sets_are_in_our_formats_and_everything_is_counted(tmp_path):
    rows = [
        row(["a", "b", ""], [3.0, 1.0, 9.0], prompt=CHAT),
        row(["a", "b", "c"], [1.0, 1.0, 1.0], truncated=[2], prompt=CHAT),
        row(["a", "", ""], [1.0, 0.0, 0.0], prompt=CHAT),
        row(["", "b", ""], [0.0, 5.0, 0.0], truncated=[1], prompt=CHAT),
    ]
    rows[3]["members"]["late"] = [0.0, 0.0, 0.0]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps(one) + "\n" for one in rows))
    found = write_sets(tmp_path, samples, SampleSpec(n=3, min_score=2.0))
    best, pairs = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("best.jsonl", "pairs.jsonl")
    )
    a, b = ([{"role": "assistant", "content": text}] for text in "ab")
    assert best == [{"prompt": CHAT, "completion": a, "score": 3.0}]
    assert pairs == [{"prompt": CHAT, "chosen": a, "rejected": b, "score_chosen": 3.0, "score_rejected": 1.0}]
    counts = vars(found.counts)
    assert counts == {
        "prompts": 4,
        "answers": 12,
        "truncated": 2,
        "empty": 5,
        "best": 1,
        "pairs": 1,
        "unusable": 1,
        "below": 2,
        "single": 1,
        "tied": 1,
        "dropped": {"late": 3},
    }
    saved = json.loads((tmp_path / "best_of_n.json").read_text())
    assert saved["counts"] == counts
    assert [point["n"] for point in saved["curve"]] == [1, 2, 3]
    assert (tmp_path / "best_of_n.png").stat().st_size > 5000


def test_the_curve_is_the_estimator_s_over_all_answers():
    first = row(["a", "b", "c"], [3.0, 1.0, 9.0], x=[0.0, 1.0, 2.0], y=[6.0, 1.0, 16.0])
    second = row(["a", "b", "c"], [0.0, 4.0, 2.0], truncated=[1], x=[1.0, 1.0, 1.0], y=[-1.0, 7.0, 3.0])
    for point in curve_of([first, second]):
        rewards = [best_of_n(one["scores"], one["scores"], point.n).item() for one in (first, second)]
        assert point.reward == pytest.approx(sum(rewards) / 2)
        assert point.error == pytest.approx(abs(rewards[0] - rewards[1]) / 2)  # half of the range: two values
        assert point.kl == kl_bound(point.n)
        for name, value in point.members.items():
            each = [best_of_n(one["scores"], one["members"][name], point.n).item() for one in (first, second)]
            assert value == pytest.approx(sum(each) / 2)
    assert curve_of([first])[0].error is None

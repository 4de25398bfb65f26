import json
import math
from pathlib import Path

import pytest

from alignkit.rewards.bench import SECTIONS, TiesExample, average, best_of, pair_is_right, section_scores, ties_score
from tests.objectives.properties import assert_refuses

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())["rewardbench"]


def example(id, correct, wrong):
    return TiesExample(id=id, correct=correct, wrong=wrong)


def test_sections_are_the_official_ones():
    assert section_scores(RECORDED["subsets"]) == pytest.approx(RECORDED["sections"], rel=1e-12)
    counts = {name: count for part in [*SECTIONS.values()][:4] for name, count in part.items()}
    assert counts == RECORDED["counts"]


def test_sections_that_are_not_there_do_not_count():
    assert section_scores({"hep-cpp": 0.5, "math-prm": 1.0, "mine": 0.1}) == {"Reasoning": (984 + 82) / (984 + 164)}
    assert section_scores({"mine": 0.1}) == {}


def test_prior_sets_count_half_in_the_average():
    sections = section_scores(RECORDED["subsets"])
    assert average(sections) == pytest.approx(sum(sections.values()) / 4)
    prior = section_scores({**RECORDED["subsets"], "shp": 0.2, "summarize": 0.6})
    assert prior["Prior Sets"] == pytest.approx(0.4)
    assert average(prior) == pytest.approx((2 * sum(sections.values()) + 0.4) / 9)


def test_equal_scores_are_wrong_in_pairs_and_shared_in_choices():
    assert [pair_is_right(2, 1), pair_is_right(1, 1), pair_is_right(0, 1)] == [1, 0, 0]
    assert [best_of(2, [1, 0]), best_of(2, [2, 2]), best_of(1, [2, 0])] == [1, 1 / 3, 0]


def test_ties_by_hand():
    ref, tied = example("ref:1", [5.0], [1.0, 2.0]), example("tied:1", [5.0, 6.0], [1.0, 3.0])
    assert (ref.gap, ref.spread, tied.gap, tied.spread) == (3, 0, 2, 1)
    assert ties_score([ref, tied]) == pytest.approx(1 + 0.01 * math.tanh(1))
    wide = example("tied:2", [2.0, 9.0], [1.0, 0.0])  # right, but the correct answers differ by more than they lead
    assert ties_score([example("ref:2", [2.0], [3.0]), wide]) == pytest.approx(0.3 + 0.01 * math.tanh(-1 / 7 - 1))
    four = [ref, tied, example("ref:2", [2.0], [3.0]), wide]
    margins = (math.tanh(1) + math.tanh(-8 / 7)) / 2
    assert ties_score(four) == pytest.approx(0.3 + 0.15 + 0.1 + 0.1 + 0.01 * margins)


def test_correct_answers_with_one_score_have_no_spread():
    tied = example("tied:1", [4.0, 4.0], [1.0])
    assert ties_score([example("ref:1", [4.0], [1.0]), tied]) == pytest.approx(1.01)
    assert ties_score([example("ref:1", [4.0], [4.0]), tied]) == pytest.approx(0.3 + 0.2)
    assert ties_score([example("ref:1", [4.0], [5.0]), tied]) == pytest.approx(0.3 + 0.2 - 0.01)


def test_a_question_with_one_example_counts_where_it_can():
    both = [example("ref:1", [4.0], [1.0]), example("tied:1", [4.0, 4.0], [1.0])]
    assert ties_score([*both, example("ref:2", [0.0], [1.0])]) == pytest.approx(1.01 - 0.15)


def test_refusals():
    assert_refuses("id '7' of the subset Ties should be ref:NUMBER or tied:NUMBER", example, "7", [1.0], [0.0])
    assert_refuses("ref:7 of the subset Ties needs correct and wrong answers", example, "ref:7", [1.0], [])
    one = example("ref:7", [1.0], [0.0])
    assert_refuses("ref:7 is twice in the subset Ties", ties_score, [one, one])
    alone = "no question of the subset Ties has both examples, ref:NUMBER and tied:NUMBER"
    assert_refuses(alone, ties_score, [one])

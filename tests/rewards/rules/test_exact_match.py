import pytest

from alignkit.rewards import rules
from tests.objectives.properties import assert_refuses

PROMPTS = ["2 + 2?"] * 3


def test_an_answer_is_the_expected_text_or_not():
    rule = rules.make("exact_match")
    assert rule(PROMPTS, ["4", " 4\n", "four"], answer=["4", 4, "Four"]).tolist() == [1, 1, 0]
    assert rules.make("exact_match", ignore_case=True)(PROMPTS, ["4", "5", "four"], answer=["4", "4", "Four"])[2] == 1


def test_messages_are_read_by_the_last_one():
    chat = [{"role": "user", "content": "4"}, {"role": "assistant", "content": "5"}]
    assert rules.make("exact_match", column="target")(PROMPTS[:1], [chat], target=["5"]).tolist() == [1]


def test_refusals():
    rule = rules.make("exact_match")
    assert_refuses("ExactMatch reads the column 'answer'; the data have none", rule, PROMPTS[:1], ["4"])
    message = "ExactMatch reads the column 'answer'; the data have target, level"
    assert_refuses(message, rule, PROMPTS[:1], ["4"], target=["4"], level=[1])
    assert_refuses("no rule named 'exactmatch'; did you mean 'exact_match'?", rules.make, "exactmatch")
    with pytest.raises(ValueError, match=r"^zip\(\) argument 2 is shorter than argument 1$"):
        rule(PROMPTS, ["4"], answer=["4"])

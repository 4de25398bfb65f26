"""Prompts: FastChat's file is filled as FastChat fills it."""

import json

import pytest

from alignkit.evaluation import EvaluationError, load_prompts
from alignkit.evaluation.prompts import FASTCHAT, texts_of
from tests.evaluation.scripted import question

FIELDS = {  # names that FastChat gives its templates
    ("single", 1): "{question}|{answer}",
    ("single", 2): "{question_1}|{answer_1}|{question_2}|{answer_2}",
    ("pairwise", 1): "{question}|{answer_a}|{answer_b}",
    ("pairwise", 2): "{question_1}|{answer_a_1}|{answer_b_1}|{question_2}|{answer_a_2}|{answer_b_2}",
}
REFERENCES = {1: "|{ref_answer_1}", 2: "|{ref_answer_1}|{ref_answer_2}"}


def write(file, **changes):
    rows = []
    for (mode, reference, turn), name in FASTCHAT.items():
        template = FIELDS[mode, turn] + (REFERENCES[turn] if reference else "")
        form = "[[rating]]" if mode == "single" else "[[A]]"
        row = {"name": name, "system_prompt": f"{name} {{}}\n\n", "prompt_template": template, "output_format": form}
        rows.append({**row, **changes.get(name.replace("-", "_"), {})})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_a_file_of_fastchats_is_filled_word_for_word(tmp_path):
    prompts = load_prompts(write(tmp_path / "judge_prompts.jsonl"))
    math = question(7, "math")
    messages = prompts.of("single", math, 2).messages(texts_of(math, [("{x}", "two")], 2))
    assert messages == [
        {"role": "system", "content": "single-math-v1-multi-turn {}\n\n"},
        {"role": "user", "content": "ask 7|{x}|and 7|two|right 7|right too 7"},
    ]
    plain = question(8)
    _, user = prompts.of("pairwise", plain, 1).messages(texts_of(plain, [("A", "-"), ("B", "-")], 1))
    assert user["content"] == "ask 8|A|B"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_format": "[[rating_a,rating_b]]"}, "pair-v2 asks for '[[rating_a,rating_b]]'; it should be '[[A]]'"),
        ({"prompt_template": "{answer_c}"}, "pair-v2 names {answer_c}; there are answer_a, answer_b, fence, question"),
        ({"prompt_template": "{question.__class__}"}, "pair-v2 names {question.__class__}; there are"),
        ({"prompt_template": "{"}, "pair-v2 is no template: "),
        ({"system_prompt": None}, "has no prompt pair-v2 with system_prompt and prompt_template"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused(tmp_path, change, message):
    with pytest.raises(EvaluationError) as caught:
        load_prompts(write(tmp_path / "p.jsonl", pair_v2=change))
    assert message in str(caught.value)


def test_our_prompts_show_everything_and_ask_for_the_form():
    prompts = load_prompts()
    for (mode, reference, turn), _ in FASTCHAT.items():
        asked = question(1, "math" if reference else "stem")
        answers = [("one", "two")] if mode == "single" else [("one", "two"), ("three", "four")]
        _, user = prompts.of(mode, asked, turn).messages(texts_of(asked, answers, turn))
        for answer in answers:
            assert all(f"\n{text}\n" in user["content"] for text in answer[:turn])
        assert ("right 1" in user["content"]) is reference
        assert ("and 1" in user["content"]) is (turn == 2)
        assert ("[[5]]" if mode == "single" else "[[C]]") in user["content"].rpartition("</")[2]
    assert len({prompt.name for prompt in prompts.by_use.values()}) == 8

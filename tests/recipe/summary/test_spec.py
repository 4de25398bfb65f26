import pytest

from alignkit.recipe import RecipeError, load
from alignkit.recipe.summary.spec import SummarySpec

TOP = "objective: dpo\nmodel: {path: org/model}\ndata: {train: [{source: org/rows}]}\n"


def recipe(tmp_path, text):
    file = tmp_path / "x.yaml"
    file.write_text(TOP + text)
    return load(file)


def test_the_section_is_optional_and_saved(tmp_path):
    assert recipe(tmp_path, "").summary == SummarySpec(answers=None, max_new_tokens=64)
    written = recipe(tmp_path, "summary: {answers: 2, max_new_tokens: 8}\n")
    assert written.summary == SummarySpec(answers=2, max_new_tokens=8)
    assert written.resolved()["summary"] == {"answers": 2, "max_new_tokens": 8}
    assert written != recipe(tmp_path, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{answer: 2}", "unknown key summary.answer; did you mean answers?"),
        ("{answers: -1}", "summary.answers = -1 must be 0 or more; 0 switches them off"),
        ("{max_new_tokens: 0}", "summary.max_new_tokens = 0 must be at least 1; answers: 0 switches them off"),
        ("{answers: many}", "summary.answers = 'many'"),
        ("4", "summary should be a mapping"),
    ],
)
def test_mistakes_are_named(tmp_path, text, said):
    with pytest.raises(RecipeError) as caught:
        recipe(tmp_path, f"summary: {text}\n")
    assert said in caught.value.report()


def test_nobody_publishes_held_out_texts_by_accident():
    assert SummarySpec().count(published=False) == 4
    assert SummarySpec().count(published=True) == 0
    assert SummarySpec(answers=2).count(published=True) == 2
    assert SummarySpec(answers=0).count(published=False) == 0

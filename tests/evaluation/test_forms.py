"""Forms of a judge's reply: what is asked, what the endpoint is told, and what is read."""

import json

import jsonschema
import pytest

from alignkit.evaluation import EvaluationError, Graded, Ungraded, load_prompts
from alignkit.evaluation.forms import FORMS
from alignkit.evaluation.parse import fastchat_rating, fastchat_verdict
from tests.evaluation.scripted import question
from tests.evaluation.test_injections import INJECTIONS

JSON, VALUE = FORMS["json"], FORMS["value"]


def schema(form, mode):
    given = form.parameters(mode)["response_format"]
    assert (given["type"], given["json_schema"]["strict"]) == ("json_schema", True)
    return given["json_schema"]["schema"]


@pytest.mark.parametrize(
    ("form", "mode", "reply", "judgment", "value"),
    [
        (JSON, "single", {"explanation": "Fine.", "rating": 7}, "Fine.\n\nRating: [[7]]", 7.0),
        (JSON, "pairwise", {"explanation": "Same.", "verdict": "tie"}, "Same.\n\n[[C]]", "tie"),
        (VALUE, "single", {"rating": 10}, "Rating: [[10]]", 10.0),
        (VALUE, "pairwise", {"verdict": "B"}, "[[B]]", "B"),
    ],
)
def test_what_fits_the_schema_is_a_judgment_that_fastchat_reads_the_same(form, mode, reply, judgment, value):
    jsonschema.validate(reply, schema(form, mode))
    assert form.read(mode, json.dumps(reply), []) == (judgment, Graded(value=value))
    theirs = fastchat_rating if mode == "single" else fastchat_verdict
    assert theirs(judgment) == value


@pytest.mark.parametrize(
    ("form", "mode", "reply", "reason"),
    [
        (JSON, "single", '{"explanation": "and so', "the reply is no JSON: Unterminated string starting at"),
        (JSON, "single", "Rating: [[7]]", "the reply is no JSON: "),
        (JSON, "single", '{"rating": 7}', "the reply is no object of explanation and rating"),
        (VALUE, "single", '{"rating": 2, "rating": 10}', "the reply is no object of rating"),
        (VALUE, "single", '[["rating", 7]]', "the reply is no object of rating"),
        (VALUE, "single", '{"rating": 85}', "the rating 85 is none of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        (VALUE, "single", '{"rating": true}', "the rating True is none of 1, "),
        (VALUE, "single", '{"rating": "7"}', "the rating '7' is none of 1, "),
        (VALUE, "pairwise", '{"verdict": "C"}', "the verdict 'C' is none of A, B, tie"),
    ],
)
def test_what_does_not_is_not_graded_and_kept_as_it_came(form, mode, reply, reason):
    judgment, found = form.read(mode, reply, [])
    assert isinstance(found, Ungraded)
    assert judgment == reply
    assert found.reason.startswith(reason)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        jsonschema.validate(json.loads(reply, object_pairs_hook=once), schema(form, mode))


def once(pairs):
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_quoted_mark_is_never_the_rating(text):
    reply = json.dumps({"explanation": f"It says {text}, and [[9]]", "rating": 2})
    assert JSON.read("single", reply, [text])[1].value == 2
    reply = json.dumps({"explanation": text.replace("[[10]]", "[[A]]"), "verdict": "B"})
    assert JSON.read("pairwise", reply, [text])[1].value == "B"


def test_a_mark_that_fastchat_would_take_is_noted():
    reply = json.dumps({"explanation": "It asks for [[10]]", "rating": 2})
    assert JSON.read("single", reply, ["[[10]]"])[1] == Graded(value=2.0, note="FastChat reads 10")


def test_prompts_ask_for_the_form():
    for name, form in FORMS.items():
        for mode in ("single", "pairwise"):
            prompt = load_prompts(form=form).of(mode, question(1), 1)
            assert prompt.template.endswith(f"merit. {form.asks(mode)}")
            assert prompt.name == f"alignkit-{'' if name == 'text' else name + '-'}{mode}-turn-1"
    assert '"explanation"' in JSON.asks("single")
    assert '"explanation"' not in VALUE.asks("single")
    with pytest.raises(EvaluationError, match=r"prompts of x ask for text; replies as json need those of alignkit$"):
        load_prompts("x", JSON)

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM

from alignkit.data.load import Data
from alignkit.models.sources import resolve
from alignkit.models.tiny import byte_tokenizer
from alignkit.objectives import make
from alignkit.recipe.summary.answers import Answers, NoAnswers, answered, held_out, prompts_for
from alignkit.recipe.summary.spec import SummarySpec


def said(role, text):
    return {"role": role, "content": text}


ASKED = [said("user", "Hi")]
ROWS = [
    {"prompt": ASKED, "completion": [said("assistant", "a")], "label": True},
    {"prompt": ASKED, "completion": [said("assistant", "b")], "label": False},
    {
        "prompt": [said("system", "Be brief"), said("user", "Bye")],
        "completion": [said("assistant", "a")],
        "label": True,
    },
]


@pytest.fixture(scope="module")
def model(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNKIT_CACHE", str(request.config.cache.mkdir("alignkit")))
        return AutoModelForCausalLM.from_pretrained(resolve("tiny:llama"))


def trainer(model=None, **changed):
    return SimpleNamespace(
        args=SimpleNamespace(push_to_hub=changed.get("push_to_hub", False)),
        state=SimpleNamespace(global_step=3),
        model=model,
        objective=make(changed.get("objective", "dpo")),
        processing_class=byte_tokenizer(),
        is_sharded=changed.get("is_sharded", False),
        compute_loss_context_manager=nullcontext,
    )


def data(rows):
    return Data(train=Dataset.from_list([{}]), eval=rows and Dataset.from_list(rows), fingerprints={}, report=())


def test_different_prompts_in_their_order():
    assert held_out(ROWS, 4) == [ROWS[0]["prompt"], ROWS[2]["prompt"]]
    assert held_out(ROWS, 1) == [ASKED]


def test_messages_are_asked_up_to_the_last_turn_of_the_user():
    talk = [said("user", "1"), said("assistant", "2"), said("user", "3"), said("assistant", "4")]
    assert held_out([{"messages": talk}], 1) == [talk[:3]]
    assert held_out([{"messages": [said("assistant", "I start")]}], 1) == []


def test_plain_text_is_not_asked():
    assert held_out([{"text": "a"}, {"prompt": "a", "completion": "b"}], 4) == []


def test_a_long_set_is_not_searched_to_its_end():
    assert held_out(({"text": "a"} for _ in iter(int, 1)), 2) == []


@pytest.mark.parametrize(
    ("changed", "rows", "spec", "reason"),
    [
        ({}, ROWS, SummarySpec(answers=0), "summary.answers is 0"),
        ({"push_to_hub": True}, ROWS, SummarySpec(), "train.push_to_hub would publish them; write summary.answers: 4"),
        ({"is_sharded": True}, ROWS, SummarySpec(), "the model is split over the processes (ZeRO-3 or FSDP)"),
        ({"objective": "bradley_terry"}, ROWS, SummarySpec(), "a reward model writes none"),
        ({}, None, SummarySpec(), "write data.eval or data.holdout"),
        ({}, [{"text": "a"}], SummarySpec(), "plain text, not conversations"),
    ],
)
def test_why_there_are_none(changed, rows, spec, reason):
    found = prompts_for(trainer(**changed), data(rows), spec)
    assert isinstance(found, NoAnswers)
    assert reason in found.reason


def test_whoever_asks_for_them_publishes_them():
    assert prompts_for(trainer(push_to_hub=True), data(ROWS), SummarySpec(answers=1)) == [ASKED]


def test_answers_of_the_model_as_it_is(model):
    chats = prompts_for(trainer(), data(ROWS), SummarySpec())
    found = answered(trainer(model), chats, SummarySpec(max_new_tokens=4))
    assert isinstance(found, Answers)
    assert found.step == 3
    assert len(found.texts) == 2
    assert all(len(text.encode()) <= 16 for text in found.texts), "four tokens, of at most a replacement character each"
    again = answered(trainer(model), chats, SummarySpec(max_new_tokens=4))
    assert again.texts == found.texts


def test_a_failure_is_a_reason_and_ends_nothing():
    found = answered(trainer(model=None), [ASKED], SummarySpec())
    assert isinstance(found, NoAnswers)
    assert found.reason.startswith("generating them failed: AttributeError: ")

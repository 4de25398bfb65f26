"""The prompt that asks for a better answer."""

import pytest

from alignkit.data.revision import DEFAULT, FILE, RevisionPrompt
from alignkit.data.spec import DataSpec, Source

ASK = RevisionPrompt(template="{prompt}\nDraft: {draft}")
DRAFT = [{"role": "assistant", "content": "4"}]


def test_prompt_and_draft_are_put_in_once_and_nothing_in_them_is_read():
    assert ASK("2 + 2?", "4") == "2 + 2?\nDraft: 4"
    assert ASK("Explain {draft} and {0.__class__}", "{prompt} %s \\1 {x}") == (
        "Explain {draft} and {0.__class__}\nDraft: {prompt} %s \\1 {x}"
    )
    assert RevisionPrompt(template="{draft}{prompt}{draft}")("p", "d") == "dpd"


def test_of_a_conversation_the_last_question_is_rewritten():
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi {draft}"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "2 + 2?"},
    ]
    assert ASK(chat, DRAFT) == [*chat[:3], {"role": "user", "content": "2 + 2?\nDraft: 4"}]
    assert chat[3]["content"] == "2 + 2?"


def test_a_draft_is_one_answer():
    with pytest.raises(ValueError, match="an answer of 2 messages cannot be a draft"):
        ASK([{"role": "user", "content": "Hi"}], DRAFT * 2)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{prompt}", r"does not hold \{draft\}; write it where the draft belongs"),
        ("Improve {draft}", r"does not hold \{prompt\}"),
        ("{prompt} {drfat} {draft}", r"holds \{drfat\}, which nothing is put in for; did you mean \{draft\}\?"),
        ("{prompt} {draft} {zzz}", r"it knows \{prompt\} and \{draft\}"),
    ],
)
def test_a_template_without_its_places_is_refused(template, message):
    with pytest.raises(ValueError, match=message):
        RevisionPrompt(template=template)
    with pytest.raises(ValueError, match=f"revision_prompt {message}|{message}"):
        DataSpec(train=(Source(source="x.jsonl"),), revision_prompt=template)


def test_braces_around_anything_but_a_name_are_text():
    assert RevisionPrompt(template='{"a": 1} { prompt } {} {prompt} {draft}')("p", "d") == '{"a": 1} { prompt } {} p d'


def test_it_is_read_back_as_it_was_written(tmp_path):
    template = "ä\r\n{prompt}\n\n{draft}\n"
    RevisionPrompt(template=template).save(tmp_path)
    assert RevisionPrompt.load(tmp_path).template == template
    assert (tmp_path / FILE).read_bytes() == template.encode()


def test_a_model_without_one_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no revision_prompt.txt, so it was not trained to revise"):
        RevisionPrompt.load(tmp_path)


def test_the_default_holds_both_places():
    assert RevisionPrompt().template == DEFAULT
    assert RevisionPrompt()("Why?", "Because.").startswith("Why?\n")

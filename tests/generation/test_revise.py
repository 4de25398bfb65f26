"""Drafts of drafts, with a sampler that writes down what it was asked."""

from alignkit.data.revision import RevisionPrompt
from alignkit.generation.revise import drafts


class Scripted:
    """Answers with the number of times it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, chats, n=1):
        self.asked += chats
        return [[f"answer {len(self.asked)}"] for _ in chats]


def test_each_revision_sees_the_prompt_and_the_latest_draft_only():
    sampler = Scripted()
    chat = [{"role": "user", "content": "Why?"}]
    found = list(drafts(sampler, RevisionPrompt(template="{prompt} Not: {draft}"), chat, 3))
    assert found == ["answer 1", "answer 2", "answer 3", "answer 4"]
    assert [messages[-1]["content"] for messages in sampler.asked] == [
        "Why?",
        "Why? Not: answer 1",
        "Why? Not: answer 2",
        "Why? Not: answer 3",
    ]
    assert {len(messages) for messages in sampler.asked} == {1}


def test_without_rounds_there_is_the_answer():
    assert list(drafts(Scripted(), RevisionPrompt(), [{"role": "user", "content": "Why?"}], 0)) == ["answer 1"]

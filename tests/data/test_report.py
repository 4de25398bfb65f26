import pytest
from datasets import Dataset

from alignkit.data.errors import DataError
from alignkit.data.report import inspect, refuse_dropped, render_example
from alignkit.models.tiny import byte_tokenizer

ASKED = len("user\nHi\nassistant\n") + 3  # tokens of the prompt below: bytes, and three special tokens


@pytest.fixture
def tokenizer():
    return byte_tokenizer()


def pair(chosen, rejected, place, source="a.jsonl", prompt="Hi"):
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "source": source,
        "place": place,
    }


def test_every_example_is_counted_by_what_max_length_leaves_of_it(tokenizer):
    rows = [
        pair("x" * 5, "y" * 8, "a.jsonl:1"),  # whole
        pair("x" * 5, "y" * 9, "a.jsonl:2"),  # loses the line feed after its end token, which is no loss
        pair("x" * 5, "y" * 10, "a.jsonl:3"),  # loses its end token
        pair("x", "y", "a.jsonl:4", prompt="H" * 50),  # loses its answers
    ]
    report = inspect(Dataset.from_list(rows), "pairs", tokenizer, max_length=ASKED + 10)
    total = report.total
    assert (total.examples, total.kept, total.truncated, total.dropped, total.lost_end) == (4, 3, 2, 1, 1)
    assert total.places == ("a.jsonl:4",)
    assert total.trained == (7 + 10) * 3
    assert total.tokens == total.trained + 6 * ASKED
    assert total.lengths == {"median": ASKED + 11, "90 %": ASKED + 51, "99 %": ASKED + 51, "longest": ASKED + 51}
    assert (total.changed_prompt, total.marked) == (0, 0)


def test_without_a_limit_nothing_is_lost(tokenizer):
    total = inspect(Dataset.from_list([pair("x" * 500, "y", "a.jsonl:1")]), "pairs", tokenizer, None).total
    assert (total.kept, total.truncated, total.dropped, total.lost_end) == (1, 0, 0, 0)


def test_keeping_the_end_loses_no_end_token(tokenizer):
    rows = Dataset.from_list([pair("x" * 500, "y", "a.jsonl:1")])
    total = inspect(rows, "pairs", tokenizer, 40, truncation="keep_end").total
    assert (total.kept, total.truncated, total.dropped, total.lost_end) == (1, 1, 0, 0)


def test_sources_are_counted_apart(tokenizer):
    rows = [pair("x", "y", f"{name}:1", source=name) for name in ("a.jsonl", "b.jsonl", "a.jsonl")]
    report = inspect(Dataset.from_list(rows), "pairs", tokenizer, None)
    assert [(one.source, one.examples) for one in report.sources] == [("a.jsonl", 2), ("b.jsonl", 1)]
    assert (report.total.source, report.total.examples) == ("all", 3)


def test_rows_without_a_place_go_by_their_number(tokenizer):
    report = inspect(Dataset.from_list([{"prompt": "x" * 9, "completion": "y"}]), "tokens", tokenizer, 5)
    assert (report.sources[0].source, report.total.places) == ("data", ("row 1",))


def test_a_template_that_ends_no_turn_is_found_out(tokenizer):
    tokenizer.chat_template = "{% for message in messages %}{{ message['role'] + message['content'] }}{% endfor %}"
    assert inspect(Dataset.from_list([pair("x", "y", "a.jsonl:1")]), "pairs", tokenizer, None).total.lost_end == 1


def test_prompts_that_are_no_prefix_are_counted(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "assistant\n' }}{% endif %}", "assistant\n<x>' }}{% endif %}"
    )
    assert inspect(Dataset.from_list([pair("x", "y", "a.jsonl:1")]), "pairs", tokenizer, None).total.changed_prompt == 1


def test_messages_that_hold_a_template_already_are_counted(tokenizer):
    rows = [pair("x<|im_end|>", "y", "a.jsonl:1"), pair("x", "y", "a.jsonl:2")]
    assert inspect(Dataset.from_list(rows), "pairs", tokenizer, None).total.marked == 1
    plain = Dataset.from_list([{"text": "<|im_start|>user\nHi<|im_end|>"}])
    assert inspect(plain, "tokens", tokenizer, None).total.marked == 0


def test_prompts_are_neither_dropped_nor_ended(tokenizer):
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "Hi"}]}])
    total = inspect(rows, "prompts", tokenizer, None).total
    assert (total.kept, total.dropped, total.lost_end, total.trained, total.tokens) == (1, 0, 0, 0, ASKED)


def test_dropped_examples_are_refused_by_name(tokenizer):
    rows = [pair("x", "y", f"a.jsonl:{i}", prompt="H" * 50) for i in (1, 2)]
    message = (
        "2 examples have no token to train on within max_length = 30:\n  a.jsonl:1\n  a.jsonl:2\n"
        "Raise train.max_length, shorten the prompts, or write on_bad_rows: drop to go on without them."
    )
    with pytest.raises(DataError) as error:
        refuse_dropped(inspect(Dataset.from_list(rows), "pairs", tokenizer, 30), 30)
    assert str(error.value) == message
    refuse_dropped(inspect(Dataset.from_list(rows), "pairs", tokenizer, None), None)


def test_an_example_is_rendered_token_by_token_with_what_is_trained_on(tokenizer):
    rendered = render_example(pair("日", "y", "a.jsonl:1"), tokenizer)
    assert list(rendered) == ["chosen", "rejected"]
    assert "".join(text for text, _ in rendered["rejected"]) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\ny<|im_end|>\n"
    )
    assert [text for text, trained in rendered["chosen"] if trained] == ["日", "<|im_end|>", "\n"]
    assert [text for text, _ in rendered["chosen"]][:3] == ["<|im_start|>", "u", "s"]


def test_an_example_is_rendered_as_it_is_truncated(tokenizer):
    rendered = render_example({"text": "abcdef"}, tokenizer, 3)
    assert rendered == {"text": [("a", True), ("b", True), ("c", True)]}
    assert render_example({"text": "abc"}, tokenizer, 2, truncation="keep_end")["text"][-1] == ("<|im_end|>", True)
    assert render_example({"text": "日"}, tokenizer, 2) == {"text": [("\N{REPLACEMENT CHARACTER}", True)]}

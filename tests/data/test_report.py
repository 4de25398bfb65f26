import pytest
from datasets import Dataset

from alignkit.data.report import Histogram, inspect
from alignkit.data.sequences import UNCUT, Treatment
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
    report = inspect(Dataset.from_list(rows), "pairs", tokenizer, Treatment(max_length=ASKED + 10))
    total = report.total
    assert (total.examples, total.kept, total.truncated, total.dropped, total.lost_end) == (4, 3, 2, 1, 1)
    assert total.places == ("a.jsonl:4",)
    assert total.trained == (7 + 10) * 3
    assert total.tokens == total.trained + 6 * ASKED
    assert total.lengths == {"median": ASKED + 11, "90 %": ASKED + 51, "99 %": ASKED + 51, "longest": ASKED + 51}
    assert (total.changed_prompt, total.marked) == (0, 0)


def test_without_a_limit_nothing_is_lost(tokenizer):
    total = inspect(Dataset.from_list([pair("x" * 500, "y", "a.jsonl:1")]), "pairs", tokenizer, UNCUT).total
    assert (total.kept, total.truncated, total.dropped, total.lost_end) == (1, 0, 0, 0)


def test_keeping_the_end_loses_no_end_token(tokenizer):
    rows = Dataset.from_list([pair("x" * 500, "y", "a.jsonl:1")])
    total = inspect(rows, "pairs", tokenizer, Treatment(max_length=40, truncation="keep_end")).total
    assert (total.kept, total.truncated, total.dropped, total.lost_end) == (1, 1, 0, 0)


def test_sources_are_counted_apart(tokenizer):
    rows = [pair("x", "y", f"{name}:1", source=name) for name in ("a.jsonl", "b.jsonl", "a.jsonl")]
    report = inspect(Dataset.from_list(rows), "pairs", tokenizer, UNCUT)
    assert [(one.source, one.examples) for one in report.sources] == [("a.jsonl", 2), ("b.jsonl", 1)]
    assert (report.total.source, report.total.examples) == ("all", 3)


def test_rows_without_a_place_go_by_their_number(tokenizer):
    report = inspect(
        Dataset.from_list([{"prompt": "x" * 9, "completion": "y"}]), "tokens", tokenizer, Treatment(max_length=5)
    )
    assert (report.sources[0].source, report.total.places) == ("data", ("row 1",))


def test_a_template_that_ends_no_turn_is_found_out(tokenizer):
    tokenizer.chat_template = "{% for message in messages %}{{ message['role'] + message['content'] }}{% endfor %}"
    assert inspect([pair("x", "y", "a.jsonl:1")], "pairs", tokenizer, UNCUT).total.lost_end == 1


def test_prompts_that_are_no_prefix_are_counted(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "assistant\n' }}{% endif %}", "assistant\n<x>' }}{% endif %}"
    )
    assert inspect([pair("x", "y", "a.jsonl:1")], "pairs", tokenizer, UNCUT).total.changed_prompt == 1


def test_messages_that_hold_a_template_already_are_counted(tokenizer):
    rows = [pair("x<|im_end|>", "y", "a.jsonl:1"), pair("x", "y", "a.jsonl:2")]
    assert inspect(Dataset.from_list(rows), "pairs", tokenizer, UNCUT).total.marked == 1
    plain = Dataset.from_list([{"text": "<|im_start|>user\nHi<|im_end|>"}])
    assert inspect(plain, "tokens", tokenizer, UNCUT).total.marked == 0


def test_rankings_are_looked_into(tokenizer):
    answers = [[{"role": "assistant", "content": text}] for text in ("x", "y" * 50, "z<|im_end|>")]
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "Hi"}], "answers": answers}])
    total = inspect(rows, "rankings", tokenizer, UNCUT).total
    assert (total.kept, total.marked, sum(total.histogram.counts)) == (1, 1, 3)
    drop = Treatment(max_length=ASKED + 20, truncation="drop")
    assert inspect(rows, "rankings", tokenizer, drop).total.dropped == 1
    plain = Dataset.from_list([{"prompt": "a", "answers": ["b", "c"]}])
    assert inspect(plain, "rankings", tokenizer, UNCUT).total.marked == 0


def test_prompts_are_neither_dropped_nor_ended(tokenizer):
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "Hi"}]}])
    total = inspect(rows, "prompts", tokenizer, UNCUT).total
    assert (total.kept, total.dropped, total.lost_end, total.trained, total.tokens) == (1, 0, 0, 0, ASKED)


def test_the_histogram_counts_every_sequence(tokenizer):
    rows = Dataset.from_list([{"text": "x" * length} for length in (1, 1, 79, 99)])
    histogram = inspect(rows, "tokens", tokenizer, UNCUT).total.histogram
    assert histogram == Histogram(width=3, counts=(2, *[0] * 25, 1, *[0] * 6, 1))  # 2, 2, 80 and 100 tokens


def test_prompts_are_trained_on_where_that_is_asked(tokenizer):
    row = Dataset.from_list([{"prompt": "ab", "completion": "c"}])
    assert inspect(row, "tokens", tokenizer, Treatment(completion_only=False)).total.trained == 4
    assert inspect(row, "tokens", tokenizer, UNCUT).total.trained == 2

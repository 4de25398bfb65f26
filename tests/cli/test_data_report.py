import io

import pytest
from datasets import Dataset, IterableDataset
from rich.console import Console

from alignkit.cli._data_report import print_report
from alignkit.cli._tokens import print_example
from alignkit.data.account import take_account
from alignkit.data.load import Data, SourceReport
from alignkit.data.marked import mark
from alignkit.data.sequences import UNCUT, Treatment
from alignkit.models.tiny import byte_tokenizer

PAIR = {
    "prompt": [{"role": "user", "content": "Hi"}],
    "chosen": [{"role": "assistant", "content": "Yes\x1b[2J"}],
    "rejected": [{"role": "assistant", "content": "No"}],
    "source": "a.jsonl",
    "place": "a.jsonl:1",
}
ASKED = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def printed(function, *arguments, **options):
    console = Console(file=io.StringIO(), width=500, highlight=False, **options)
    function(console, *arguments)
    return console.file.getvalue()


def report_of(data, **treatment):
    report = take_account(data, "pairs", byte_tokenizer(), Treatment(**treatment))
    return printed(lambda console: print_report(report, console))


@pytest.fixture
def source():
    return SourceReport(
        source="a.jsonl", use="train", format="prompt", conversational=True, read=1204, kept=1201,
        dropped={"empty answer": 2, "broken JSON": 1}, held_out=0, used=1, turned=0,
    )  # fmt: skip


def test_every_source_says_what_became_of_its_rows_and_examples(source):
    text = report_of(Data(train=Dataset.from_list([PAIR]), eval=None, fingerprints={}, report=(source,)), max_length=28)
    assert text.splitlines()[:4] == [
        "train  a.jsonl",
        "  1,204 rows (prompt, messages), 1,201 kept, 3 dropped: empty answer 2, broken JSON 1; 1 examples an epoch",
        "  tokens a sequence: median 30, 90 % 30, 99 % 30, longest 30 (max_length 28); 21% of them trained",
        "  1 (100 %) cut, 0 left without a token to train on, 1 (100 %) without end token, "
        "0 whose prompt is no prefix of the whole, 0 with special tokens in a message",
    ]


def test_a_stream_says_that_nobody_counted_it(source):
    stream = IterableDataset.from_generator(lambda: iter([PAIR]))
    rows = SourceReport(source="a.jsonl", use="train", format="prompt", conversational=True)
    text = report_of(Data(train=stream, eval=None, fingerprints={}, report=(rows,)))
    assert "  streamed (prompt, messages); nobody has counted its rows\n" in text
    assert "(no max_length)" in text
    assert "\n  of the first 1: 0 cut" in text


def test_trained_tokens_are_between_brackets_where_there_is_no_colour():
    text = printed(print_example, mark(PAIR, byte_tokenizer(), UNCUT))
    assert text == (
        "a.jsonl:1 (trained tokens are between ⟦ and ⟧)\n"
        f"  chosen: {ASKED}⟦Yes\\x1b[2J<|im_end|>↵\n⟧\n"
        "  rejected: (the same prompt) ⟦No<|im_end|>↵\n⟧\n"
    )


def test_trained_tokens_are_coloured_and_nothing_else_commands_the_terminal():
    text = printed(print_example, mark(PAIR, byte_tokenizer(), UNCUT), force_terminal=True, color_system="standard")
    assert "⟦" not in text
    assert "\x1b[32mYes\\x1b[2J\x1b[0m" in text
    assert "\x1b[1;32m<|im_end|>\x1b[0m" in text
    assert "\x1b[2J" not in text


def test_what_is_cut_off_is_said_and_long_parts_are_shortened():
    marked = mark({"text": "abcdefghij" * 9, "source": "a", "place": "a:1"}, byte_tokenizer(), Treatment(max_length=80))
    text = printed(print_example, marked, 10)
    assert text.splitlines()[1] == "  text: ⟦abcde … 70 characters … fghij⟧ … 11 tokens cut off"

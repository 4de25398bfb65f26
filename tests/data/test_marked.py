import pytest

from alignkit.data.marked import Span, mark, pieces, shortened, visible
from alignkit.data.sequences import UNCUT, Treatment, sequences
from alignkit.models.tiny import byte_tokenizer

PAIR = {
    "prompt": [{"role": "user", "content": "Hi"}],
    "chosen": [{"role": "assistant", "content": "日"}],
    "rejected": [{"role": "assistant", "content": "y"}],
    "source": "a.jsonl",
    "place": "a.jsonl:1",
}


@pytest.fixture
def tokenizer():
    return byte_tokenizer()


def test_an_example_is_marked_token_by_token(tokenizer):
    chosen, rejected = (pieces(sequence, tokenizer) for sequence in sequences(PAIR, tokenizer))
    assert "".join(text for text, _ in rejected) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\ny<|im_end|>\n"
    )
    assert [text for text, trained in chosen if trained] == ["日", "<|im_end|>", "\n"]
    assert [text for text, _ in chosen][:3] == ["<|im_start|>", "u", "s"]


def test_spans_join_tokens_of_one_kind_and_keep_special_ones_apart(tokenizer):
    marked = mark(PAIR, tokenizer, UNCUT)
    assert (marked.source, marked.place, [one.name for one in marked.sequences]) == (
        "a.jsonl",
        "a.jsonl:1",
        ["chosen", "rejected"],
    )
    assert marked.sequences[0].spans[-6:] == (
        Span(text="\n", trained=False),
        Span(text="<|im_start|>", trained=False, special=True),
        Span(text="assistant\n", trained=False),
        Span(text="日", trained=True),
        Span(text="<|im_end|>", trained=True, special=True),
        Span(text="\n", trained=True),
    )


def test_an_example_is_marked_as_it_is_truncated(tokenizer):
    def cut(text, **treatment):
        [sequence] = mark({"text": text}, tokenizer, Treatment(**treatment)).sequences
        return [span.text for span in sequence.spans], sequence.cut

    assert cut("abcdef", max_length=3) == (["abc"], 4)
    assert cut("abc", max_length=2, truncation="keep_end") == (["c", "<|im_end|>"], 2)
    assert cut("日", max_length=2) == (["\N{REPLACEMENT CHARACTER}"], 2)
    assert cut("ab") == (["ab", "<|im_end|>"], 0)


def test_what_a_terminal_would_obey_is_written_out():
    assert visible("a\x1b[31mb\r\n\tc\u202ed") == "a\\x1b[31mb\\r\n\tc\\u202ed"


def test_long_spans_lose_their_middle():
    spans = (Span(text="abcdefghij", trained=False), Span(text="xyz", trained=True))
    assert [span.text for span in shortened(spans, 5)] == ["ab … 5 characters … hij", "xyz"]
    assert shortened(spans, 10) == spans

from html.parser import HTMLParser

import pytest
from datasets import Dataset

from alignkit.data.account import take_account
from alignkit.data.html_report import marked_up, page, section, svg
from alignkit.data.load import Data, SourceReport
from alignkit.data.marked import Span
from alignkit.data.report import Histogram
from alignkit.data.sequences import Treatment
from alignkit.models.tiny import byte_tokenizer

ROWS = [
    {"text": "<script>alert(1)</script> & more", "source": "<a>.jsonl", "place": "<a>.jsonl:1"},
    {"text": "short", "source": "<a>.jsonl", "place": "<a>.jsonl:2"},
]
READ = SourceReport(
    source="<a>.jsonl",
    use="train",
    format="text",
    conversational=False,
    read=5,
    kept=2,
    dropped={"broken JSON": 2, "empty text": 1},
    held_out=0,
    used=2,
    turned=0,
)


class Reader(HTMLParser):
    """Collects tags and text, and checks that every tag is closed by its own."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts, self.links = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def report():
    data = Data(train=Dataset.from_list(ROWS), eval=None, fingerprints={}, report=(READ,))
    return take_account(data, "tokens", byte_tokenizer(), Treatment(max_length=20))


def test_the_page_is_whole_and_needs_nothing_else(report):
    html = page(report, "Data of <x>.yaml")
    reader = Reader(html)
    assert reader.links == []
    assert "script" not in reader.tags
    assert "http:" not in html
    assert "https:" not in html
    assert reader.tags.count("svg") == 1
    assert "<title>Data of &lt;x&gt;.yaml</title>" in html


def test_the_data_are_text_and_never_html(report):
    html = section(report)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<h3>&lt;a&gt;.jsonl:1</h3>" in html


def test_rows_and_tokens_are_counted(report):
    html = section(report)
    assert '<td class="wrong">3 (broken JSON: 2; empty text: 1)</td>' in html
    assert '<td class="wrong">1 (50.0%)</td>' in html  # cut
    assert "<h2>Tokens (max_length 20)</h2>" in html
    assert "<h4>text (13 tokens cut off)</h4>" in html


def test_trained_text_is_marked_and_special_tokens_stand_out():
    spans = [
        Span(text="a\n", trained=False),
        Span(text="<e>", trained=False, special=True),
        Span(text="b\n", trained=True),
        Span(text="</s>", trained=True, special=True),
    ]
    assert marked_up(spans) == "a\n<b>&lt;e&gt;</b><mark>b↵\n</mark><mark><b>&lt;/s&gt;</b></mark>"


def test_bars_are_as_high_as_their_counts_and_the_limit_is_drawn():
    drawn = svg(Histogram(width=10, counts=(2, 4)), limit=15)
    assert 'y="60.0" width="288.0" height="60.0"' in drawn
    assert 'y="0.0" width="288.0" height="120.0"' in drawn
    assert "<title>11 to 20 tokens: 4</title>" in drawn
    assert '<line x1="480.0"' in drawn
    assert "max_length 15" in drawn
    assert "max_length" not in svg(Histogram(width=10, counts=(2, 4)), limit=20)
    assert "<title>1 tokens: 3</title>" in svg(Histogram(width=1, counts=(3,)), limit=None)

import json

import numpy as np
import pytest
from datasets import Dataset, IterableDataset

from alignkit.data import account
from alignkit.data.account import picked, take_account
from alignkit.data.load import Data, SourceReport
from alignkit.data.sequences import UNCUT, Treatment
from alignkit.models.tiny import byte_tokenizer


@pytest.fixture
def tokenizer():
    return byte_tokenizer()


def rows(source, *lengths):
    return [
        {"text": "x" * length, "source": source, "place": f"{source}:{i}"} for i, length in enumerate(lengths, start=1)
    ]


def data(train, evaluation=None, report=()):
    evaluation = Dataset.from_list(evaluation) if evaluation else None
    return Data(train=Dataset.from_list(train), eval=evaluation, fingerprints={}, report=report)


def test_rows_and_examples_of_a_source_come_together(tokenizer):
    read = SourceReport(source="a", use="train", format="text", conversational=False, read=3, kept=2)
    report = take_account(data(rows("a", 3, 4), rows("a", 5), (read,)), "tokens", tokenizer, UNCUT)
    [(use, source, row, found), (other_use, _, other_row, other)] = report.sources()
    assert (use, source, row, found.examples) == ("train", "a", read, 2)
    assert (other_use, other_row, other.examples) == ("eval", None, 1)  # held out: its rows are the training source's
    assert report.example.place == "a:1"
    assert report.set_of("train").examples == {"a": 2}
    assert report.set_of("train").sampled is False
    assert report.set_of("test") is None


def test_the_report_is_json(tokenizer):
    report = take_account(data(rows("a", 3)), "tokens", tokenizer, Treatment(max_length=2))
    found = json.loads(json.dumps(report.plain()))
    assert found["treatment"]["max_length"] == 2
    assert found["sets"][0]["report"]["total"]["truncated"] == 1
    assert found["example"]["sequences"][0]["spans"] == [{"text": "xx", "trained": True, "special": False}]


def test_large_sources_are_sampled_and_shares_weighed_by_their_size(tokenizer, monkeypatch):
    monkeypatch.setattr(account, "SAMPLE", 20)
    monkeypatch.setattr(account, "AT_LEAST", 5)
    train = rows("large", *[1] * 95) + rows("small", *[9] * 5)
    part = take_account(data(train), "tokens", tokenizer, Treatment(max_length=5)).set_of("train")
    assert part.sampled
    assert {one.source: one.examples for one in part.report.sources} == {"large": 19, "small": 5}
    assert part.examples == {"large": 95, "small": 5}
    assert part.mean("truncated") == pytest.approx(0.05)
    whole = take_account(data(train), "tokens", tokenizer, Treatment(max_length=5), whole=True).set_of("train")
    assert (whole.sampled, whole.report.total.examples) == (False, 100)


def test_a_sample_is_spread_evenly_over_every_source():
    sources = np.array(["a"] * 90 + ["b"] * 10)
    chosen = picked(sources, size=10, at_least=2)
    assert chosen.tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95]
    assert picked(sources, size=100, at_least=2).tolist() == list(range(100))
    assert picked(sources, size=50, at_least=20).tolist()[-10:] == list(range(90, 100))


def test_of_a_stream_the_first_examples_are_tokenized(tokenizer, monkeypatch):
    monkeypatch.setattr(account, "STREAMED", 3)
    stream = IterableDataset.from_generator(lambda: iter(rows("a", 1, 2, 3, 9)))
    streamed = Data(train=stream, eval=None, fingerprints={}, report=())
    part = take_account(streamed, "tokens", tokenizer, Treatment(max_length=3)).set_of("train")
    assert (part.sampled, part.examples, part.report.total.examples) == (True, None, 3)
    assert part.mean("truncated") == pytest.approx(1 / 3)

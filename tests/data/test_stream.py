import pickle
import tracemalloc
from collections import Counter

import pytest

from alignkit.data import DataSpec, Source, stream
from alignkit.data.errors import DataError
from alignkit.data.layouts import Layout
from alignkit.data.load import load_data
from alignkit.data.sources import open_source

PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}
LAYOUT = Layout(shape="pairs", format="prompt", conversational=False)


def streamed(base, name, drop=False, layout=LAYOUT):
    return stream.stream(open_source(Source(source=name), base, streaming=True), layout, drop=drop)


def test_rows_are_brought_to_their_shape_with_their_place(write, tmp_path):
    write("a.jsonl", [PAIR])
    found = streamed(tmp_path, "a.jsonl")
    assert list(found) == [{**PAIR, "source": "a.jsonl", "place": "a.jsonl:1"}]
    assert list(found.features) == ["prompt", "chosen", "rejected", "source", "place"]
    assert list(pickle.loads(pickle.dumps(found))) == list(found)


def test_a_bad_row_ends_the_run_when_it_is_met(write, tmp_path):
    write("a.jsonl", [PAIR, {**PAIR, "chosen": ""}])
    rows = iter(streamed(tmp_path, "a.jsonl"))
    assert next(rows)["place"] == "a.jsonl:1"
    message = "a.jsonl:2: empty answer: chosen. Correct the row, or write on_bad_rows: drop"
    with pytest.raises(DataError) as error:
        next(rows)
    assert str(error.value) == message


def test_bad_rows_are_left_out_when_asked(write, tmp_path):
    write("a.jsonl", '{"prompt":\n' + '{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    assert [row["place"] for row in streamed(tmp_path, "a.jsonl", drop=True)] == ["a.jsonl:2"]


def test_a_mixture_draws_by_weight_from_the_seed(write, tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        write(name, [{**PAIR, "prompt": str(i)} for i in range(300)])
    streams = [streamed(tmp_path, name) for name in ("a.jsonl", "b.jsonl")]
    first = list(stream.mixed(streams, [3.0, 1.0], seed=0))
    assert first == list(stream.mixed(streams, [3.0, 1.0], seed=0))
    assert first != list(stream.mixed(streams, [3.0, 1.0], seed=1))
    counts = Counter(row["source"] for row in first)
    assert 2.3 < counts["a.jsonl"] / counts["b.jsonl"] < 3.9  # 3 in expectation, with a standard deviation of 0.2
    assert {row["place"] for row in first} >= {f"b.jsonl:{i}" for i in range(1, 301)}


def test_one_source_is_shuffled_and_whole(write, tmp_path):
    write("a.jsonl", [{**PAIR, "prompt": str(i)} for i in range(50)])
    prompts = [row["prompt"] for row in stream.mixed([streamed(tmp_path, "a.jsonl")], [1.0], seed=0)]
    assert prompts != sorted(prompts, key=int)
    assert sorted(prompts, key=int) == [str(i) for i in range(50)]


def test_evaluation_streams_come_one_after_the_other(write, tmp_path):
    write("a.jsonl", [PAIR])
    write("b.jsonl", [PAIR, PAIR])
    both = stream.joined([streamed(tmp_path, "b.jsonl"), streamed(tmp_path, "a.jsonl")])
    assert [row["place"] for row in both] == ["b.jsonl:1", "b.jsonl:2", "a.jsonl:1"]
    assert stream.joined([]) is None


def test_ten_times_the_rows_need_no_more_memory(write, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BUFFER", 100)  # the rows among which it shuffles are held, and no others
    peaks = []
    for count in (300, 500, 5000):  # the first warms caches up
        write("a.jsonl", [{**PAIR, "prompt": f"{number} " + "q" * 200} for number in range(count)])
        spec = DataSpec(train=(Source(source="a.jsonl"),), streaming=True)
        tracemalloc.start()
        assert sum(1 for _ in load_data(spec, "pairs", base=tmp_path).train) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.3 * peaks[1]

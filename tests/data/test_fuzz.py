"""Readers of files meet arbitrary damage: all that they raise is DataError."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alignkit.data import DataSpec, Source
from alignkit.data.errors import BadRow, DataError
from alignkit.data.files import read_file
from alignkit.data.layouts import SHAPES
from alignkit.data.load import load_data


def few(examples):
    unchecked = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=unchecked)


CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ä"}]
ROWS = [{"prompt": "q", "messages": CHAT, "score": 0.5, "label": True, "images": ["a.png"]}] * 3


def json_text(rows):
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def csv_text(rows):
    return b'prompt,chosen,rejected\n"a, b",c,"d\ne"\nf,g,h\n'


def parquet_bytes(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def arrow_bytes(rows):
    table = pa.Table.from_pylist(rows)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


WRITERS = {".json": json_text, ".csv": csv_text, ".parquet": parquet_bytes, ".arrow": arrow_bytes}
WHOLE = {ending: write(ROWS) for ending, write in WRITERS.items()}
words = st.sampled_from(["prompt", "chosen", "rejected", "messages", "role", "user", "content", "images", "path", "a"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
tables = st.dictionaries(
    words,
    st.sampled_from([pa.array([CHAT]), pa.array(["x"]), pa.array([2**62], pa.timestamp("us")), pa.array([b"\xff"])])
    | st.sampled_from([pa.array([float("nan")]), pa.array([None]), pa.array([[1, None]]), pa.array([{"path": 5}])]),
    min_size=1,
    max_size=5,
)


@st.composite
def damaged(draw, ending):
    """A whole file of which bytes are changed, put in, or cut off; or noise from its start."""
    whole = WHOLE[ending]
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(whole) - 1))
        data[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return draw(st.sampled_from([bytes(data), bytes(data[: draw(st.integers(0, len(data)))]), draw(st.binary())]))


def said_about(path):
    """What a reader says about a file as a whole; what it raises otherwise is no DataError, and fails the test."""
    try:
        for place, row in read_file(path, path.name):
            assert place.startswith(path.name)
            assert isinstance(row, dict | BadRow)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("ending", WRITERS)
def test_no_damage_makes_a_reader_raise_anything_but_a_data_error(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(WHOLE[ending])
    assert said_about(path) is None

    @few(100)
    @given(content=damaged(ending))
    def check(content):
        path.write_bytes(content)
        said = said_about(path)
        assert said is None or said.encode().startswith(path.name.encode())

    check()


def loads_or_is_refused(path, shape, drop):
    spec = DataSpec(train=[Source(source=path.name)], on_bad_rows="drop" if drop else "error")
    try:
        load_data(spec, shape, base=path.parent)
    except DataError as error:
        str(error).encode()


@few(25)
@given(rows=st.lists(st.dictionaries(words, values, min_size=1, max_size=5), max_size=3) | values)
@example(rows=[{"prompt": "q", "chosen": "a", "rejected": "b", "messages": CHAT, "images": [{"path": 5}]}])
@example(rows=[{"messages": ["q", {"role": "user", "content": [{"type": "image"}]}]}])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_json_document_makes_loading_fail_otherwise(tmp_path, shape, rows):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    loads_or_is_refused(path, shape, drop=True)


@few(25)
@given(columns=tables, shape=st.sampled_from(SHAPES), drop=st.booleans())
@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_no_table_makes_loading_fail_otherwise(tmp_path, ending, columns, shape, drop):
    path = tmp_path / f"a{ending}"
    table = pa.table(columns)
    if ending == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    loads_or_is_refused(path, shape, drop)

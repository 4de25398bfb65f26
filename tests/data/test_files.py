import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from alignkit.data.errors import BadRow, DataError
from alignkit.data.files import read_file

ROWS = [{"prompt": "Größe?", "completion": "2020-01-01"}, {"prompt": "b", "completion": "NA"}]


def read(path, split="train"):
    """Rows as they are, bad ones as text."""
    return [(place, str(row) if isinstance(row, BadRow) else row) for place, row in read_file(path, path.name, split)]


def fails(path, split="train"):
    with pytest.raises(DataError) as error:
        read(path, split)
    return str(error.value)


def test_jsonl_keeps_text_as_text_and_names_lines(write):
    path = write("a.jsonl", "\n" + json.dumps(ROWS[0]) + "\r\n\n" + json.dumps(ROWS[1], ensure_ascii=False))
    assert read(path) == [("a.jsonl:2", ROWS[0]), ("a.jsonl:4", ROWS[1])]


def test_jsonl_lines_end_at_line_feeds_only(write):
    assert read(write("a.jsonl", '{"text": "one\u2028two\x85three"}\n')) == [
        ("a.jsonl:1", {"text": "one\u2028two\x85three"})
    ]


def test_a_byte_order_mark_is_no_content(write):
    for name in ("a.jsonl", "a.json", "a.csv"):
        content = "text\nhello\n" if name == "a.csv" else '{"text": "hello"}\n'
        assert [row for _, row in read(write(name, b"\xef\xbb\xbf" + content.encode()))] == [{"text": "hello"}]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": 1', "broken JSON: Expecting ',' delimiter at column 8"),
        (b'{"a": 1} {"a": 2}', "broken JSON: Extra data at column 10"),
        (b"hello", "broken JSON: Expecting value at column 1"),
        (b"[1, 2]", "not an object: a row is written {...}, and this is a JSON list"),
        (b'{"a": "caf\xe9"}', "not UTF-8: byte 0xe9 at 11"),
        (b"[" * 100_000, "broken JSON: brackets are nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "broken JSON: a number has too many digits"),
    ],
)
def test_a_bad_line_of_jsonl_is_named_and_the_next_is_read(write, line, problem):
    path = write("a.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    assert read(path) == [("a.jsonl:1", {"a": 1}), ("a.jsonl:2", problem), ("a.jsonl:3", {"a": 3})]


def test_json_holds_a_list_or_splits_or_lines(write):
    numbered = [("a.json row 1", ROWS[0]), ("a.json row 2", ROWS[1])]
    assert read(write("a.json", json.dumps(ROWS, indent=2))) == numbered
    assert read(write("a.json", json.dumps({"data": ROWS, "version": 1}))) == numbered
    assert read(write("a.json", json.dumps({"train": [], "test": ROWS})), "test") == numbered
    assert read(write("a.json", ROWS)) == [("a.json:1", ROWS[0]), ("a.json:2", ROWS[1])]
    assert read(write("a.json", json.dumps(ROWS[0], indent=2))) == numbered[:1]


@pytest.mark.parametrize(
    ("content", "split", "message"),
    [
        ('[{"a": 1},\n {"a": }]', "train", "a.json:2: broken JSON: Expecting value at column 8"),
        (b'[{"a": 1},\n {"a": "\xe9"}]', "train", "a.json:2: not UTF-8: byte 0xe9; save the file as UTF-8"),
        ("[]", "test", "a.json has no split 'test'; it has train"),
        ('{"train": [], "dev": []}', "test", "a.json has no split 'test'; it has train, dev"),
        ('"hello"', "train", "a.json holds no rows; write [{...}, {...}], or one {...} a line in a .jsonl file"),
        ("[" * 100_000, "train", "a.json: broken JSON: nested too deeply, or a number of too many digits"),
        ('[{"a": 1}]'.encode("utf-16"), "train", "a.json is UTF-16; save it as UTF-8"),
    ],
)
def test_a_broken_json_document_is_named_by_line(write, content, split, message):
    assert fails(write("a.json", content), split) == message


def test_json_lists_may_hold_bad_rows(write):
    bad = "not an object: a row is written {...}, and this is a JSON int"
    assert read(write("a.json", '[{"a": 1}, 2]')) == [("a.json row 1", {"a": 1}), ("a.json row 2", bad)]


def test_csv_keeps_text_as_text_and_names_the_line_where_a_row_starts(write):
    path = write("a.csv", 'prompt,completion\r\n"two\nlines",NA\r\n\r\n42,2020-01-01\r\n')
    assert read(path) == [
        ("a.csv:2", {"prompt": "two\nlines", "completion": "NA"}),
        ("a.csv:5", {"prompt": "42", "completion": "2020-01-01"}),
    ]


def test_csv_takes_long_answers(write):
    assert read(write("a.csv", "text\n" + "x" * 200_000 + "\n")) == [("a.csv:2", {"text": "x" * 200_000})]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"1", "wrong number of cells: 1 where the header has 2"),
        (b"1,2,3", "wrong number of cells: 3 where the header has 2"),
        (b'1,"2"x', "broken CSV: ',' expected after '\"'"),
        (b"1,caf\xe9", "not UTF-8: byte 0xe9 at 6"),
    ],
)
def test_a_bad_row_of_csv_is_named_and_the_next_is_read(write, line, problem):
    path = write("a.csv", b"a,b\n" + line + b"\n5,6\n")
    assert read(path) == [("a.csv:2", problem), ("a.csv:3", {"a": "5", "b": "6"})]


def test_a_quote_that_never_closes_is_named_by_its_first_line(write):
    assert read(write("a.csv", 'a,b\n1,2\n3,"4\n5,6\n')) == [
        ("a.csv:2", {"a": "1", "b": "2"}),
        ("a.csv:3", "broken CSV: unexpected end of data"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,a\n1,2\n", "a.csv:1: two columns have the same name: a, a"),
        (b'a,"b"c\n1,2\n', "a.csv:1: broken CSV: ',' expected after '\"'"),
        (b"a,\xe9\n1,2\n", "a.csv:1: not UTF-8: byte 0xe9 at 3; save the file as UTF-8"),
    ],
)
def test_a_broken_csv_header_is_an_error(write, content, message):
    assert fails(write("a.csv", content)) == message


def test_parquet_rows_keep_their_types(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "x"}], "score": 1.5}] * 300
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    read_rows = read(tmp_path / "a.parquet")
    assert [row for _, row in read_rows] == rows
    assert read_rows[299][0] == "a.parquet row 300"


def test_a_cut_parquet_file_is_an_error(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-10])
    assert fails(tmp_path / "a.parquet").startswith("a.parquet is no whole Parquet file (after row 0): ")


def test_arrow_files_of_datasets_are_read(tmp_path):
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    [path] = (tmp_path / "saved").glob("*.arrow")
    assert [row for _, row in read(path)] == ROWS
    (tmp_path / "a.arrow").write_bytes(b"no arrow at all")
    assert fails(tmp_path / "a.arrow").startswith("a.arrow is no whole Arrow file: ")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error(write, name, content):
    assert fails(write(name, content)) == f"{name} is empty; give a file that holds at least one row"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_utf16_is_an_error(write, name):
    assert fails(write(name, '{"text": "x"}\n'.encode("utf-16"))) == f"{name} is UTF-16; save it as UTF-8"


def test_an_unknown_ending_is_an_error(write):
    use = "use .jsonl, .json, .csv, .parquet, .arrow"
    assert fails(write("a.txt", "x")) == f"a.txt: no reader for .txt; {use}"
    assert fails(write("a", "x")) == f"a: no reader for a file without an ending; {use}"


def test_a_file_that_may_not_be_opened_is_an_error(tmp_path):
    assert fails(tmp_path / "gone.jsonl") == "gone.jsonl cannot be read: No such file or directory"

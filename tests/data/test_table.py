import pytest

from alignkit.data import Source, table
from alignkit.data.errors import DataError
from alignkit.data.layouts import Layout
from alignkit.data.sources import open_source
from alignkit.data.table import SHOWN, read_table

PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}
LAYOUT = Layout(shape="pairs", format="prompt", conversational=False)


def read(base, layout=LAYOUT, name="a.jsonl"):
    return read_table(open_source(Source(source=name), base), layout)


def test_good_rows_are_numbered_and_bad_ones_named_and_counted(write, tmp_path):
    write("a.jsonl", [PAIR, {**PAIR, "chosen": ""}, {**PAIR, "prompt": "r"}, {**PAIR, "rejected": "a"}, PAIR])
    found = read(tmp_path)
    assert found.good.tolist() == [0, 2, 4]
    assert found.dataset[2] == {**PAIR, "prompt": "r", "source": "a.jsonl", "place": "a.jsonl:3"}
    assert found.bad == ("a.jsonl:2: empty answer: chosen", "a.jsonl:4: chosen equals rejected")
    assert found.dropped == {"empty answer": 1, "chosen equals rejected": 1}


def test_only_the_first_bad_rows_are_put_into_words(write, tmp_path):
    write("a.jsonl", "{\n" * 30)
    found = read(tmp_path)
    assert len(found.bad) == SHOWN
    assert found.dropped == {"broken JSON": 30}
    assert found.good.tolist() == []


def test_rows_with_the_same_prompt_share_a_group(write, tmp_path):
    write("a.jsonl", [PAIR, {**PAIR, "prompt": "other"}, {**PAIR, "chosen": "c"}])
    first, other, third = read(tmp_path).groups
    assert first == third != other


@pytest.mark.parametrize(
    ("example", "same", "other"),
    [
        ({"text": "a"}, {"text": "a"}, {"text": "b"}),
        ({"messages": ["q", "a"]}, {"messages": ["q", "b"]}, {"messages": ["r", "a"]}),
        ({"prompt": "q", "label": True}, {"prompt": "q", "label": False}, {"prompt": "r", "label": True}),
    ],
)
def test_a_group_is_the_prompt_or_the_text_or_all_but_the_last_message(example, same, other):
    assert table.group_of(example) == table.group_of(same) != table.group_of(other)


def test_a_source_is_read_again_only_if_something_changed(write, tmp_path, monkeypatch):
    write("a.jsonl", [PAIR])
    first = read(tmp_path).dataset
    monkeypatch.setattr(table, "noted_examples", lambda **kwargs: pytest.fail("was read again"))
    assert read(tmp_path).dataset._fingerprint == first._fingerprint


def test_the_key_follows_content_layout_and_code(write, tmp_path, monkeypatch):
    keys = set()

    def note(layout=LAYOUT, **fields):
        keys.add(table.key_of(open_source(Source(source="a.jsonl", **fields), tmp_path), layout))

    write("a.jsonl", [PAIR])
    note()
    note(limit=1)
    note(Layout(shape="pairs", format="prompt", conversational=False, columns=("score",)))
    write("a.jsonl", [PAIR, PAIR])
    note()
    monkeypatch.setattr(table, "code_digest", lambda: "another version")
    note()
    assert len(keys) == 5


def test_a_file_that_breaks_off_is_an_error(write, tmp_path):
    path = write("a.parquet", b"PAR1 no parquet")
    with pytest.raises(DataError, match=r"^a\.parquet is no whole Parquet file \(after row 0\): "):
        read(tmp_path, name=path.name)

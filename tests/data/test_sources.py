import hashlib
import pickle

import datasets
import pytest
from datasets import Dataset, DatasetDict

from alignkit.data import Source
from alignkit.data.errors import DataError
from alignkit.data.sources import open_source

ROWS = [{"text": "one"}, {"text": "two"}, {"text": "three"}]


def opened(base, source, **fields):
    return open_source(Source(source=source, **fields), base)


def rows(base, source, **fields):
    return [row["text"] for _, row in opened(base, source, **fields).rows()]


def fails(base, source, **fields):
    with pytest.raises(DataError) as error:
        list(opened(base, source, **fields).rows())
    return str(error.value).replace(str(base), "BASE")


def test_a_file_is_found_beside_the_recipe_and_fingerprinted_by_content(write, tmp_path):
    path = write("a.jsonl", ROWS)
    found = opened(tmp_path, "a.jsonl")
    assert found.label == "a.jsonl"
    assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(found.rows()) == [(f"a.jsonl:{i}", row) for i, row in enumerate(ROWS, start=1)]
    assert rows(tmp_path / "elsewhere", str(path)) == ["one", "two", "three"]


def test_rows_can_be_read_again_and_in_another_process(write, tmp_path):
    write("a.jsonl", ROWS)
    found = opened(tmp_path, "a.jsonl")
    assert list(found.rows()) == list(found.rows()) == list(pickle.loads(pickle.dumps(found)).rows())


def test_limit_reads_from_the_start(write, tmp_path):
    write("a.jsonl", ROWS)
    assert rows(tmp_path, "a.jsonl", limit=2) == ["one", "two"]


def test_a_missing_file_is_an_error_with_the_nearest_name(write, tmp_path):
    write("pairs.jsonl", ROWS)
    assert fails(tmp_path, "pars.jsonl") == "no file pars.jsonl in BASE; did you mean pairs.jsonl?"
    far = "no file sub/x.csv in BASE; paths are relative to the recipe's folder"
    assert fails(tmp_path, "sub/x.csv") == far
    assert fails(tmp_path, "./pairs").startswith("no file ./pairs in BASE; did you mean pairs.jsonl?")


def test_an_impossible_path_is_an_error(tmp_path):
    assert fails(tmp_path, "x" * 5000).endswith("File name too long: 'BASE/" + "x" * 5000 + "'")
    assert fails(tmp_path, "~nobody-of-that-name/x.csv").startswith("~nobody-of-that-name/x.csv is no path")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "test"}, "a.jsonl is one file and has no split 'test'; remove split"),
        ({"name": "main"}, "a.jsonl is a local path; name is for datasets on the Hub, remove it"),
        ({"revision": "v1"}, "a.jsonl is a local path; revision is for datasets on the Hub, remove it"),
    ],
)
def test_a_file_takes_nothing_that_belongs_to_the_hub(write, tmp_path, fields, message):
    write("a.jsonl", ROWS)
    assert fails(tmp_path, "a.jsonl", **fields) == message


def test_a_json_document_may_hold_splits(write, tmp_path):
    write("a.json", '{"train": [{"text": "x"}], "test": [{"text": "y"}]}')
    assert rows(tmp_path, "a.json") == ["x"]
    assert rows(tmp_path, "a.json", split="test") == ["y"]


def test_a_folder_of_files_is_read_in_the_order_of_their_names(write, tmp_path):
    write("data/b.jsonl", ROWS[1:])
    write("data/a.jsonl", ROWS[:1])
    write("data/README.md", "not data")
    write("data/.hidden.jsonl", "not data")
    found = opened(tmp_path, "data/")
    assert [place for place, _ in found.rows()] == ["data/a.jsonl:1", "data/b.jsonl:1", "data/b.jsonl:2"]
    write("data/b.jsonl", ROWS[:1])
    assert opened(tmp_path, "data").fingerprint != found.fingerprint


def test_files_and_subfolders_of_a_folder_name_splits(write, tmp_path):
    write("data/train-00000-of-00002.jsonl", ROWS[:1])
    write("data/train-00001-of-00002.jsonl", ROWS[1:2])
    write("data/test/0.jsonl", ROWS[2:])
    write("data/train_prefs.jsonl", [{"text": "prefs"}])
    assert rows(tmp_path, "data") == ["one", "two"]
    assert rows(tmp_path, "data", split="test") == ["three"]
    assert rows(tmp_path, "data", split="train_prefs") == ["prefs"]
    assert fails(tmp_path, "data", split="dev") == (
        "data has no split 'dev'; splits named by its files: test, train, train_prefs"
    )


def test_a_split_of_a_folder_that_names_none_is_an_error(write, tmp_path):
    write("data/a.jsonl", ROWS)
    assert fails(tmp_path, "data", split="test") == "data has no split 'test'; splits named by its files: none"


def test_a_folder_without_data_or_with_two_kinds_is_an_error(write, tmp_path):
    write("data/notes.txt", "x")
    assert fails(tmp_path, "data") == "data holds no data files; put .jsonl, .json, .csv, .parquet, .arrow files there"
    write("data/a.jsonl", ROWS)
    write("data/a.csv", "text\nx\n")
    assert fails(tmp_path, "data") == "data holds .csv and .jsonl files; name one file, or keep one kind"


def test_a_saved_dataset_is_read_by_split(tmp_path):
    DatasetDict(train=Dataset.from_list(ROWS[:2]), test=Dataset.from_list(ROWS[2:])).save_to_disk(tmp_path / "both")
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    assert list(opened(tmp_path, "both").rows()) == [("both[train] row 1", ROWS[0]), ("both[train] row 2", ROWS[1])]
    assert rows(tmp_path, "both", split="test") == ["three"]
    assert rows(tmp_path, "one") == ["one", "two", "three"]
    assert opened(tmp_path, "both").fingerprint != opened(tmp_path, "both", split="test").fingerprint
    assert fails(tmp_path, "both", split="dev") == "both has no split 'dev'; it has train, test"
    assert fails(tmp_path, "one", split="dev") == "one was saved without splits and has no 'dev'; remove split"


def test_a_damaged_saved_dataset_is_an_error(write, tmp_path):
    write("saved/state.json", "{")
    assert fails(tmp_path, "saved").startswith("saved is a damaged Arrow folder: ")


def test_a_hub_dataset_goes_through_datasets(tmp_path, monkeypatch):
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = opened(tmp_path, "someone/pairs", split="test", name="main", revision="v1")
    assert asked == [(("someone/pairs", "main"), {"split": "test", "revision": "v1", "streaming": False})]
    assert list(found.rows())[2] == ("someone/pairs[main, test] row 3", ROWS[2])
    assert found.fingerprint


def test_a_hub_dataset_that_is_not_there_is_an_error(tmp_path):
    start = "someone/no-such-data[train]: there is no such path in BASE, and the Hub's dataset cannot be read: "
    assert fails(tmp_path, "someone/no-such-data").startswith(start)


def test_a_hub_dataset_that_breaks_off_is_an_error(tmp_path, monkeypatch):
    def rows():
        yield ROWS[0]
        raise ConnectionError("the line is dead")

    stream = datasets.IterableDataset.from_generator(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: stream)
    found = open_source(Source(source="someone/pairs"), tmp_path, streaming=True)
    with pytest.raises(DataError) as error:
        list(found.rows())
    assert str(error.value) == "someone/pairs[train] cannot be read to its end: the line is dead"

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset, IterableDataset

from alignkit.data import DataSpec, Source
from alignkit.data.errors import DataError
from alignkit.data.load import SourceReport, load_data

ROOT = Path(__file__).parents[2]
PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}
CHAT_PAIR = {
    "prompt": [{"role": "user", "content": "q"}],
    "chosen": [{"role": "assistant", "content": "a"}],
    "rejected": [{"role": "assistant", "content": "b"}],
}


def pairs(count, start=0):
    return [
        {"prompt": f"q{i}", "chosen": f"a{i}", "rejected": f"b{i}", "score_chosen": i, "score_rejected": -i}
        for i in range(start, start + count)
    ]


def spec(*names, **fields):
    return DataSpec(train=[Source(source=name) for name in names], **fields)


def fails(*args, **kwargs):
    with pytest.raises(DataError) as error:
        load_data(*args, **kwargs)
    return str(error.value)


def test_rows_come_back_shuffled_with_their_place_and_numbers(write, tmp_path):
    write("a.jsonl", pairs(20))
    data = load_data(spec("a.jsonl"), "pairs", ["score_chosen"], tmp_path)
    assert isinstance(data.train, Dataset)
    assert data.eval is None
    assert list(data.fingerprints) == ["a.jsonl"]
    assert [row["prompt"] for row in data.train] != [f"q{i}" for i in range(20)]
    for row in data.train:
        i = int(row["prompt"][1:])
        assert row == {
            "prompt": f"q{i}",
            "chosen": f"a{i}",
            "rejected": f"b{i}",
            "score_chosen": float(i),
            "source": "a.jsonl",
            "place": f"a.jsonl:{i + 1}",
        }


def test_the_report_counts_rows_of_every_source(write, tmp_path):
    write("a.jsonl", [*pairs(10), {**PAIR, "chosen": ""}])
    write("b.jsonl", pairs(4, start=10))
    write("c.jsonl", pairs(3, start=20))
    data = load_data(
        DataSpec(
            train=[Source(source="a.jsonl", weight=0.5), Source(source="b.jsonl", weight=2.0)],
            eval=[Source(source="c.jsonl")],
            on_bad_rows="drop",
            label_noise=0.5,
        ),
        "pairs",
        base=tmp_path,
    )
    a, b, c = data.report
    kind = {"format": "prompt", "conversational": False, "held_out": 0}
    assert a.turned + b.turned == 4  # half of the 5 + 4 different rows, rounded to even
    bad = {"empty answer": 1}
    assert a == SourceReport(
        source="a.jsonl", use="train", read=11, kept=10, dropped=bad, used=5, turned=a.turned, **kind
    )
    assert b == SourceReport(source="b.jsonl", use="train", read=4, kept=4, used=8, turned=b.turned, **kind)
    assert c == SourceReport(source="c.jsonl", use="eval", read=3, kept=3, used=3, turned=0, **kind)
    assert len(data.train) == 13
    assert data.eval["prompt"][:] == ["q20", "q21", "q22"]


def test_a_holdout_sets_whole_prompts_aside(write, tmp_path):
    write("a.jsonl", [{**row, "chosen": answer} for row in pairs(20) for answer in ("x", "y")])
    data = load_data(spec("a.jsonl", holdout=0.2), "unpaired", base=tmp_path)
    assert (len(data.train), len(data.eval)) == (64, 16)
    assert not set(data.train["prompt"]) & set(data.eval["prompt"])
    assert data.eval["label"][:4] == [True, False, True, False]
    assert (data.report[0].read, data.report[0].kept) == (40, 40)
    assert (data.report[0].held_out, data.report[0].used) == (16, 64)


def test_label_noise_turns_training_pairs_and_no_others(write, tmp_path):
    write("a.jsonl", pairs(40))
    columns = ("score_chosen", "score_rejected")
    data = load_data(spec("a.jsonl", holdout=0.25, label_noise=0.5), "pairs", columns, tmp_path)
    turned = [row for row in data.train if row["chosen"].startswith("b")]
    assert len(turned) == data.report[0].turned == 15
    assert all(row["rejected"].startswith("a") and row["score_chosen"] <= 0 for row in turned)
    assert all(row["chosen"].startswith("a") for row in data.eval)


def test_label_noise_negates_unpaired_labels(write, tmp_path):
    write("a.jsonl", pairs(20))
    data = load_data(spec("a.jsonl", label_noise=0.25), "unpaired", base=tmp_path)
    assert sum(row["label"] != row["completion"].startswith("a") for row in data.train) == 10


@pytest.mark.parametrize("shape", ["tokens", "rankings", "prompts", "tasks"])
def test_label_noise_is_refused_where_there_are_no_preferences(write, tmp_path, shape):
    message = f"label_noise turns preferences round, and rows of shape {shape} hold none; remove it"
    assert fails(spec("a.jsonl", label_noise=0.1), shape, base=tmp_path) == message


def test_bad_rows_of_all_sources_are_named_at_once(write, tmp_path):
    write("a.jsonl", [PAIR, {**PAIR, "chosen": ""}, {**PAIR, "rejected": "a"}])
    write("b.csv", "prompt,chosen,rejected\nq,a,b\nq,a\n")
    message = (
        "3 rows cannot be used:\n"
        "  a.jsonl:2: empty answer: chosen\n"
        "  a.jsonl:3: chosen equals rejected\n"
        "  b.csv:3: wrong number of cells: 2 where the header has 3\n"
        "Correct the data, or write on_bad_rows: drop to go on without them."
    )
    assert fails(spec("a.jsonl", "b.csv"), "pairs", base=tmp_path) == message


def test_of_many_bad_rows_twenty_are_shown(write, tmp_path):
    write("a.jsonl", [PAIR] + [{**PAIR, "chosen": ""}] * 50)
    lines = fails(spec("a.jsonl"), "pairs", base=tmp_path).splitlines()
    assert lines[0] == "50 rows cannot be used:"
    assert lines[20:22] == ["  a.jsonl:21: empty answer: chosen", "  and 30 more"]


def test_one_bad_row_is_a_row(write, tmp_path):
    write("a.jsonl", [PAIR, {**PAIR, "chosen": ""}])
    assert fails(spec("a.jsonl"), "pairs", base=tmp_path).startswith("1 row cannot be used:\n")


def test_a_source_without_a_usable_row_is_an_error_even_when_bad_rows_are_dropped(write, tmp_path):
    write("a.jsonl", [{**PAIR, "chosen": ""}])
    message = "no row of a.jsonl can be used; the first: a.jsonl:1: empty answer: chosen"
    assert fails(spec("a.jsonl", on_bad_rows="drop"), "pairs", base=tmp_path) == message
    write("a.jsonl", "{\n{\n")
    message = (
        "a.jsonl:1: broken JSON: Expecting property name enclosed in double quotes at column 2; "
        "none of the first 2 rows of a.jsonl can be read"
    )
    assert fails(spec("a.jsonl", on_bad_rows="drop"), "pairs", base=tmp_path) == message


def test_a_source_without_rows_is_an_error(write, tmp_path):
    write("a.csv", "prompt,chosen,rejected\n")
    message = "a.csv has no rows; give a source that holds at least one"
    assert fails(spec("a.csv"), "pairs", base=tmp_path) == message


def test_sources_of_different_kinds_do_not_mix(write, tmp_path):
    write("a.jsonl", [PAIR])
    write("b.jsonl", [CHAT_PAIR])
    message = (
        "a.jsonl gives prompt, chosen, rejected as plain text, b.jsonl gives prompt, chosen, rejected as messages; "
        "all sources of a recipe must give the same. No chat template is applied to plain text: where a.jsonl holds "
        'what users and assistants say, write it as messages, [{"role": "user", "content": ...}]'
    )
    assert fails(spec("a.jsonl", "b.jsonl"), "pairs", base=tmp_path) == message
    write("c.jsonl", [{"text": "t"}])
    write("d.jsonl", [{"prompt": "q", "completion": "a"}])
    message = (
        "c.jsonl gives text as plain text, d.jsonl gives prompt, completion as plain text; "
        "all sources of a recipe must give the same"
    )
    assert fails(spec("c.jsonl", "d.jsonl"), "tokens", base=tmp_path) == message


def test_prompts_and_answers_join_the_conversations_of_another_source(write, tmp_path):
    shared = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
    write("chats.jsonl", [shared])
    write("alpaca.jsonl", [{"system": "s", "instruction": "i", "input": "", "output": "o"}])
    data = load_data(spec("alpaca.jsonl", "chats.jsonl"), "tokens", base=tmp_path)
    assert sorted([turn["content"] for turn in messages] for messages in data.train["messages"]) == [
        ["q", "a"],
        ["s", "i", "o"],
    ]
    assert [rows.kind for rows in data.report] == [
        "alpaca, prompt and answer joined as messages",
        "sharegpt, messages",
    ]
    alone = load_data(spec("alpaca.jsonl"), "tokens", base=tmp_path)
    assert set(alone.train.column_names) >= {"prompt", "completion"}
    write("plain.jsonl", [{"prompt": "q", "completion": "a"}])
    assert fails(spec("chats.jsonl", "plain.jsonl"), "tokens", base=tmp_path) == (
        "chats.jsonl gives messages as messages, plain.jsonl gives prompt, completion as plain text; all sources of a "
        "recipe must give the same. No chat template is applied to plain text: where plain.jsonl holds what users and "
        'assistants say, write it as messages, [{"role": "user", "content": ...}]'
    )


def test_unpaired_data_of_one_class_are_an_error(write, tmp_path):
    write("a.jsonl", [{"prompt": "q", "completion": c, "label": True} for c in "ab"])
    message = "every training row has label true; the method needs both"
    assert fails(spec("a.jsonl"), "unpaired", base=tmp_path) == message


def test_a_column_that_has_a_meaning_of_its_own_cannot_be_a_number(tmp_path):
    with pytest.raises(
        ValueError, match=r"^column 'place' has a meaning of its own in a row; name the number otherwise"
    ):
        load_data(spec("a.jsonl"), "pairs", ["place"], tmp_path)


def test_rankings_and_pairs_mix(tmp_path):
    ranked = {"prompt": "q", "answers": ["a", "b", "c"], "score": 1}
    (tmp_path / "ranked.jsonl").write_text(json.dumps(ranked))
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"prompt": "p", "chosen": "d", "rejected": "e", "score": 2}))
    train = load_data(spec("ranked.jsonl", "pairs.jsonl"), "rankings", ["score"], tmp_path).train
    assert sorted(train["answers"]) == [["a", "b", "c"], ["d", "e"]]
    chats = {"prompt": [{"role": "user", "content": "q"}], "answers": ["a", "b"]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(chats))
    row = load_data(spec("chats.jsonl"), "rankings", base=tmp_path).train[0]
    assert row["answers"] == [[{"role": "assistant", "content": text}] for text in "ab"]


def test_an_unknown_shape_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match=r"^no shape named 'pair'; it is one of tokens, pairs, rankings, unpaired, prompts, tasks$"
    ):
        load_data(spec("a.jsonl"), "pair", base=tmp_path)


def test_paths_are_relative_to_the_working_directory_where_no_base_is_given(write, tmp_path, monkeypatch):
    write("a.jsonl", pairs(2))
    monkeypatch.chdir(tmp_path)
    assert len(load_data(spec("a.jsonl"), "pairs").train) == 2


def test_streams_are_mixed_and_bad_rows_dropped(write, tmp_path):
    write("a.jsonl", [*pairs(5), {**PAIR, "chosen": ""}])
    write("b.jsonl", pairs(2))
    request = replace(spec("a.jsonl", "b.jsonl", streaming=True, on_bad_rows="drop"), eval=(Source(source="b.jsonl"),))
    data = load_data(request, "pairs", base=tmp_path)
    assert isinstance(data.train, IterableDataset)
    assert {row["place"] for row in data.train} >= {f"a.jsonl:{i}" for i in range(1, 6)}
    assert [row["place"] for row in data.eval] == ["b.jsonl:1", "b.jsonl:2"]
    assert [(one.source, one.use, one.read) for one in data.report] == [
        ("a.jsonl", "train", None),
        ("b.jsonl", "train", None),
        ("b.jsonl", "eval", None),
    ]


def test_where_a_file_lies_changes_no_row(write, tmp_path):
    path = write("a.jsonl", pairs(30))
    request = DataSpec(train=[Source(source="a.jsonl", weight=0.5)], holdout=0.2)
    here = load_data(request, "pairs", base=tmp_path)
    there = load_data(replace(request, train=(Source(source=str(path), weight=0.5),)), "pairs")
    assert here.train["prompt"][:] == there.train["prompt"][:]
    assert here.eval["prompt"][:] == there.eval["prompt"][:]


ROWS = "7cb0d423bc5dabe48a35398074d9b7a5a029b73de67dd9ea26b8528332eb2ac5"  # changes only if runs of old recipes change
DIGEST = """
import hashlib, json, sys
from pathlib import Path
from alignkit.data import DataSpec, Source
from alignkit.data.load import load_data
same = {"rejected": "rejected", "chosen": "chosen"}
sources = [Source(source="a.jsonl", weight=1.5), Source(source="b.jsonl", columns=same)]
spec = DataSpec(train=sources, holdout=0.2, seed=3, label_noise=0.3)
data = load_data(spec, "pairs", ["score_chosen", "score_rejected"], Path(sys.argv[1]))
rows = json.dumps([data.train.to_list(), data.eval.to_list()])
print(hashlib.sha256(rows.encode()).hexdigest(), data.train._fingerprint, data.eval._fingerprint)
"""


def test_two_processes_at_once_get_the_same_rows_whatever_their_hash_seed(write, tmp_path):
    """The processes share a cache that is empty when both start, as the ranks of one machine do."""
    write("a.jsonl", pairs(60))
    write("b.jsonl", pairs(40, start=60))
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", DIGEST, str(tmp_path)],
            cwd=ROOT,
            env={**environment, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert first == second
    assert first.split()[0] == ROWS

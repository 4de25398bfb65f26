"""Files that other tools train on in silence, or fail on with a traceback: each is refused in one exact sentence."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignkit.data import DataSpec, Source
from alignkit.data.account import take_account
from alignkit.data.errors import DataError
from alignkit.data.load import load_data
from alignkit.data.sequences import Treatment
from alignkit.data.thresholds import check_thresholds
from alignkit.models.tiny import byte_tokenizer

PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}
SCORED = {**PAIR, "score_chosen": 1.0}
CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
ADVICE = "\nCorrect the data, or write on_bad_rows: drop to go on without them."
ONE_BAD = "1 row cannot be used:\n  {}" + ADVICE


def lines(*rows):
    """JSON lines; Python writes NaN as JSON does not know it."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def parquet(rows, names=None):
    sink, table = io.BytesIO(), pa.Table.from_pylist(rows)
    pq.write_table(table.rename_columns(names or table.column_names), sink)
    return sink.getvalue()


def arrow(rows):
    sink, table = io.BytesIO(), pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@dataclass(frozen=True, kw_only=True)
class Hurtful:
    """A file and what is said about it; None where it only looks hurtful."""

    name: str
    content: str | bytes
    message: str | None
    shape: str = "pairs"
    options: Mapping[str, Any] = field(default_factory=dict)  # columns, max_length


def row(message):
    return ONE_BAD.format(message)


TABLE = {
    "broken JSON": Hurtful(
        name="a.jsonl",
        content=lines(PAIR) + '{"prompt": "q", "chosen": "a", "rejected": "b"\n',
        message=row("a.jsonl:2: broken JSON: Expecting ',' delimiter at column 47"),
    ),
    "single quotes": Hurtful(
        name="a.jsonl",
        content=lines(PAIR) + str(PAIR) + "\n",
        message=row("a.jsonl:2: broken JSON: Expecting property name enclosed in double quotes at column 2"),
    ),
    "two rows on a line": Hurtful(
        name="a.jsonl",
        content=lines(PAIR) + json.dumps(PAIR) * 2,
        message=row("a.jsonl:2: broken JSON: Extra data at column 48"),
    ),
    "a download that stopped": Hurtful(
        name="a.json",
        content=json.dumps([PAIR, PAIR], indent=1)[:-12],
        message="a.json:10: broken JSON: Unterminated string starting at column 3",
    ),
    "a web page": Hurtful(
        name="a.jsonl",
        content="<!doctype html>\n<title>404</title>\n",
        message="a.jsonl:1: broken JSON: Expecting value at column 1; none of the first 2 rows of a.jsonl can be read",
    ),
    "Latin-1": Hurtful(
        name="a.jsonl",
        content=lines(PAIR).encode() + '{"prompt": "Größe"}\n'.encode("latin-1"),
        message=row("a.jsonl:2: not UTF-8: byte 0xf6 at 15"),
    ),
    "UTF-16": Hurtful(
        name="a.jsonl",
        content=lines(PAIR).encode("utf-16"),
        message="a.jsonl is UTF-16; save it as UTF-8",
    ),
    "UTF-16 without its mark": Hurtful(
        name="a.json",
        content=json.dumps([PAIR]).encode("utf-16-le"),
        message="a.json:1: NUL byte: the file is damaged, or no UTF-8 text",
    ),
    "NUL bytes where a disk was full": Hurtful(
        name="a.jsonl",
        content=lines(PAIR).encode() + bytes(64),
        message=row("a.jsonl:2: NUL byte: at 1; the file is damaged, or no UTF-8 text"),
    ),
    "NUL byte in a cell": Hurtful(
        name="a.csv",
        content=b"prompt,chosen,rejected\nq,a,b\nq,a\0,b\n",
        message=row("a.csv:3: NUL byte: at 4; the file is damaged, or no UTF-8 text"),
    ),
    "half of a character": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, {**PAIR, "chosen": "\ud83d"}),
        message=row("a.jsonl:2: not text: chosen holds half of a character (\\ud83d)"),
    ),
    "byte order mark": Hurtful(name="a.jsonl", content=b"\xef\xbb\xbf" + lines(PAIR).encode(), message=None),
    "blank lines": Hurtful(name="a.jsonl", content="\n  \n" + lines(PAIR) + "\n\r\n" + lines(PAIR), message=None),
    "nothing at all": Hurtful(
        name="a.jsonl", content=b"", message="a.jsonl is empty; give a file that holds at least one row"
    ),
    "blank lines only": Hurtful(
        name="a.csv", content="\n \n\n", message="a.csv is empty; give a file that holds at least one row"
    ),
    "a header without rows": Hurtful(
        name="a.csv",
        content="prompt,chosen,rejected\n",
        message="a.csv has no rows; give a source that holds at least one",
    ),
    "an empty list": Hurtful(
        name="a.json", content="[]", message="a.json has no rows; give a source that holds at least one"
    ),
    "duplicate keys in a row": Hurtful(
        name="a.jsonl",
        content=lines(PAIR) + '{"prompt": "q", "chosen": "a", "rejected": "b", "chosen": "c"}\n',
        message=row("a.jsonl:2: duplicate key: 'chosen' is written twice in one object"),
    ),
    "duplicate keys in a document": Hurtful(
        name="a.json",
        content='[{"prompt": "q", "chosen": "a", "chosen": "b"}]',
        message="a.json: duplicate key: 'chosen' is written twice in one object",
    ),
    "duplicate columns": Hurtful(
        name="a.csv",
        content="prompt,chosen,chosen\nq,a,b\n",
        message="a.csv:1: two columns have the same name: prompt, chosen, chosen",
    ),
    "a list where rows are objects": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, ["q", "a", "b"]),
        message=row("a.jsonl:2: not an object: a row is written {...}, and this is a JSON list"),
    ),
    "JSON that is no list": Hurtful(
        name="a.json",
        content="42",
        message="a.json holds no rows; write [{...}, {...}], or one {...} a line in a .jsonl file",
    ),
    "JSON of columns": Hurtful(
        name="a.json",
        content=json.dumps({"prompt": ["q"], "chosen": ["a"], "rejected": ["b"]}),
        message="a.json holds a list for each column; write a list of rows, [{...}, {...}]",
    ),
    "NaN score": Hurtful(
        name="a.jsonl",
        content=lines(SCORED, {**SCORED, "score_chosen": float("nan")}),
        message=row("a.jsonl:2: not a finite number: score_chosen is nan"),
        options={"columns": ["score_chosen"]},
    ),
    "a score in words": Hurtful(
        name="a.csv",
        content="prompt,chosen,rejected,score_chosen\nq,a,b,1.5\nq,a,b,good\n",
        message=row("a.csv:3: not a number: score_chosen is 'good'"),
        options={"columns": ["score_chosen"]},
    ),
    "wrong role order": Hurtful(
        name="a.jsonl",
        content=lines({"messages": CHAT}, {"messages": [CHAT[0], *CHAT]}),
        message=row("a.jsonl:2: wrong role order: message 2 of messages is user, assistant was due"),
        shape="tokens",
    ),
    "ends with the user": Hurtful(
        name="a.jsonl",
        content=lines({"messages": CHAT}, {"messages": CHAT[:1]}),
        message=row("a.jsonl:2: wrong role order: messages ends with user, assistant was due"),
        shape="tokens",
    ),
    "unknown role": Hurtful(
        name="a.jsonl",
        content=lines({"messages": CHAT}, {"messages": [{"role": "bot", "content": "q"}]}),
        message=row(
            "a.jsonl:2: wrong role: message 1 of messages is from 'bot'; known are system, user, assistant, human, gpt"
        ),
        shape="tokens",
    ),
    "missing field": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, {"prompt": "q", "chosen": "a"}),
        message=row("a.jsonl:2: missing field: rejected; the row has prompt, chosen"),
    ),
    "fields of another name": Hurtful(
        name="a.jsonl",
        content=lines({"question": "q", "chosen": "a", "rejected": "b"}),
        message=row(
            "a.jsonl:1: missing field: prompt; chosen and rejected hold answers only; "
            "write columns: {prompt: NAME} if it has another name"
        ),
    ),
    "chosen equal to rejected": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, {**PAIR, "rejected": "a"}),
        message=row("a.jsonl:2: chosen equals rejected"),
    ),
    "empty answer": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, {**PAIR, "chosen": " \n"}),
        message=row("a.jsonl:2: empty answer: chosen"),
    ),
    "two equal answers in a ranking": Hurtful(
        name="a.jsonl",
        content=lines({"prompt": "q", "answers": ["a", "b"]}, {"prompt": "q", "answers": ["a", "b", "a"]}),
        message=row("a.jsonl:2: an answer is ranked twice: answers 1 and 3 are the same"),
        shape="rankings",
    ),
    "a ranking of one": Hurtful(
        name="a.jsonl",
        content=lines({"prompt": "q", "answers": ["a", "b"]}, {"prompt": "q", "answers": ["a"]}),
        message=row("a.jsonl:2: fewer than two answers: answers holds 1, and a ranking compares"),
        shape="rankings",
    ),
    "wrong type": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, {**PAIR, "chosen": 7}),
        message=row("a.jsonl:2: not text: chosen is a number"),
    ),
    "a label of one": Hurtful(
        name="a.jsonl",
        content=lines(*({"prompt": "q", "completion": "a", "label": label} for label in (True, False, 1))),
        message=row("a.jsonl:3: not true or false: label is 1"),
        shape="unpaired",
    ),
    "mixed schema": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, {"messages": CHAT}),
        message=row("a.jsonl:2: missing field: chosen; the row has messages"),
    ),
    "messages among plain text": Hurtful(
        name="a.jsonl",
        content=lines(*[PAIR] * 100, {**PAIR, "chosen": CHAT[1:]}),
        message=row("a.jsonl:101: not text: chosen is a list"),
    ),
    "ragged row": Hurtful(
        name="a.csv",
        content="prompt,chosen,rejected\nq,a,b\nq,a, or so,b\n",
        message=row("a.csv:3: wrong number of cells: 4 where the header has 3"),
    ),
    "a quote that never closes": Hurtful(
        name="a.csv",
        content='prompt,chosen,rejected\nq,a,b\nq,"a,b\nq,a,b\n',
        message=row("a.csv:3: broken CSV: unexpected end of data"),
    ),
    "semicolons": Hurtful(
        name="a.csv",
        content="prompt;chosen;rejected\nq;a;b\n",
        message="a.csv:1: one column named 'prompt;chosen;rejected'; separate columns by commas",
    ),
    "truncated Parquet": Hurtful(
        name="a.parquet",
        content=parquet([PAIR])[:-20],
        message=(
            "a.parquet is no whole Parquet file (after row 0): Parquet magic bytes not found in footer. "
            "Either the file is corrupted or this is not a parquet file."
        ),
    ),
    "duplicate columns of Parquet": Hurtful(
        name="a.parquet",
        content=parquet([PAIR], ["prompt", "chosen", "chosen"]),
        message="a.parquet: two columns have the same name: prompt, chosen, chosen",
    ),
    "JSON that calls itself Parquet": Hurtful(
        name="a.parquet",
        content=lines(PAIR),
        message=(
            "a.parquet is no whole Parquet file (after row 0): Parquet magic bytes not found in footer. "
            "Either the file is corrupted or this is not a parquet file."
        ),
    ),
    "truncated Arrow": Hurtful(
        name="a.arrow",
        content=arrow([PAIR])[:-60],
        message="a.arrow is no whole Arrow file: Expected to read 280 metadata bytes, but only read 276",
    ),
    "nothing left after truncation": Hurtful(
        name="a.jsonl",
        content=lines(PAIR, {**PAIR, "prompt": "q" * 50}),
        message=(
            "1 training example has no token to train on within train.max_length = 16:\n"
            "  a.jsonl:2\n"
            "Raise train.max_length, shorten the prompts, or write data.on_bad_rows: drop to go on without them."
        ),
        options={"max_length": 16},
    ),
}


def test_the_table_is_whole():
    assert len(TABLE) >= 20


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_a_hurtful_file_gets_its_message(write, tmp_path, tokenizer, case):
    write(case.name, case.content)
    spec = DataSpec(train=[Source(source=case.name)])
    options = {"columns": [], "max_length": None, **case.options}
    try:
        data = load_data(spec, case.shape, options["columns"], tmp_path)
        report = take_account(data, case.shape, tokenizer, Treatment(max_length=options["max_length"]))
        check_thresholds(report, spec)
        said = None
    except DataError as error:
        said = str(error)
    assert said == case.message

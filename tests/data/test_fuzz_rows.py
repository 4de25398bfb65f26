"""Lines of JSONL hold any values in any fields: all that reading and loading raise is DataError."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignkit.data import DataSpec, Source
from alignkit.data.errors import BadRow, DataError
from alignkit.data.files import read_file
from alignkit.data.formats import canonical
from alignkit.data.layouts import SHAPES, recognize
from alignkit.data.load import load_data

TEXTS = st.sampled_from(["q", "a", "b", "true", "0.5", "", " ", "a\ud800", "NaN"]) | st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | TEXTS
CHATS = st.lists(st.sampled_from(["q", "a", "b", ""]), min_size=1, max_size=4).map(
    lambda texts: [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
)
KEYS = ["role", "content", "from", "value", "tool_calls"]
ROLES = st.sampled_from(["user", "assistant", "system", "human", "gpt"])
BROKEN_CHATS = st.lists(st.dictionaries(st.sampled_from(KEYS), ROLES | SCALARS, max_size=3) | SCALARS, max_size=4)
VALUES = TEXTS | CHATS | st.booleans() | SCALARS | BROKEN_CHATS | st.dictionaries(TEXTS, SCALARS, max_size=2)
FIELDS = {
    "tokens": ["messages", "conversations", "prompt completion", "instruction input output", "text"],
    "pairs": [
        "prompt chosen rejected",
        "chosen rejected",
        "instruction chosen rejected",
        "conversations chosen rejected",
    ],
    "rankings": ["prompt answers", "conversations answers", "prompt chosen rejected"],
    "unpaired": ["prompt completion label", "prompt chosen rejected", "instruction output label"],
    "prompts": ["prompt", "messages", "instruction", "chosen rejected"],
    "tasks": ["prompt", "messages", "instruction", "chosen rejected"],
}

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
GOOD = {"prompt": "q", "completion": "a", "chosen": "a", "rejected": "b", "label": True, "instruction": "q"}
GOOD |= {"answers": ["a", "b"], "input": "", "output": "a", "text": "t", "messages": CHAT, "conversations": CHAT}


@st.composite
def files(draw):
    """A shape, and a good line of it before others: the same fields with all kinds of values, and noise."""
    shape = draw(st.sampled_from(SHAPES))
    names = draw(st.sampled_from(FIELDS[shape])).split()
    row = st.fixed_dictionaries(dict.fromkeys(names, VALUES), optional={"score": SCALARS, "system": TEXTS | SCALARS})
    noise = st.dictionaries(TEXTS, SCALARS, max_size=3) | SCALARS
    line = (row | row | row | noise).map(json.dumps).map(str.encode) | st.binary(max_size=12)
    first = {**{name: GOOD[name] for name in names}, "score": 1}
    return shape, b"\n".join([json.dumps(first).encode(), *draw(st.lists(line, max_size=6))])


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=files(), columns=st.sampled_from([(), ("score",)]))
def test_no_line_of_jsonl_makes_anything_but_a_data_error(tmp_path, file, columns):
    shape, content = file
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    try:
        rows = [row for _, row in read_file(path, "a.jsonl") if not isinstance(row, BadRow)]
        layout = recognize(rows, Source(source="a.jsonl"), "a.jsonl", shape, columns)
    except DataError as error:
        str(error).encode()
        return
    for row in rows:
        try:
            examples = canonical(row, layout)
        except BadRow as bad:
            str(bad).encode()
        else:
            json.dumps(examples, allow_nan=False, ensure_ascii=False).encode()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=files(), columns=st.sampled_from([(), ("score",)]), drop=st.booleans())
def test_no_file_of_jsonl_makes_loading_fail_with_anything_but_a_data_error(tmp_path, file, columns, drop):
    shape, content = file
    (tmp_path / "a.jsonl").write_bytes(content)
    try:
        spec = DataSpec(train=(Source(source="a.jsonl"),), on_bad_rows="drop" if drop else "error")
        data = load_data(spec, shape, columns, tmp_path)
    except DataError as error:
        str(error).encode()
    else:
        assert len(data.train) >= 1

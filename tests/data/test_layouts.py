import pytest
from datasets import List, Value

from alignkit.data import Source
from alignkit.data.errors import DataError
from alignkit.data.layouts import Layout, features, recognize, renamed

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
ULTRAFEEDBACK = {"prompt": "q", "prompt_id": "0", "chosen": CHAT, "rejected": CHAT, "messages": CHAT}
PAIR = {"chosen": "a", "rejected": "b"}


def layout(row, shape, numbers=(), **fields):
    return recognize([row], Source(source="a.jsonl", **fields), "a.jsonl", shape, numbers)


def fails(*args, **kwargs):
    with pytest.raises(DataError) as error:
        layout(*args, **kwargs)
    return str(error.value)


@pytest.mark.parametrize(
    ("shape", "row", "format", "conversational"),
    [
        ("tokens", {"messages": CHAT}, "messages", True),
        ("tokens", {"conversations": CHAT}, "sharegpt", True),
        ("tokens", {"instruction": "i", "input": "", "output": "o", "text": "i o"}, "alpaca", True),
        ("tokens", {"prompt": "q", "completion": "a"}, "prompt", False),
        ("tokens", {"prompt": CHAT[:1], "completion": CHAT[1:]}, "prompt", True),
        ("tokens", {"text": "t"}, "text", False),
        ("tokens", ULTRAFEEDBACK, "messages", True),
        ("pairs", ULTRAFEEDBACK, "prompt", True),
        ("pairs", {"prompt": "q", **PAIR}, "prompt", False),
        ("pairs", {"chosen": CHAT, "rejected": CHAT}, "implicit", True),
        ("pairs", {"instruction": "q", **PAIR}, "alpaca", True),
        ("pairs", {"conversations": CHAT[:1], **PAIR}, "sharegpt", True),
        ("unpaired", {"prompt": "q", "completion": "a", "label": True}, "prompt", False),
        ("unpaired", {"instruction": "q", "output": "a", "label": True}, "alpaca", True),
        ("unpaired", {"prompt": "q", **PAIR}, "prompt", False),
        ("unpaired", {"chosen": CHAT, "rejected": CHAT}, "implicit", True),
        ("prompts", {"prompt": "q", "answer": "a"}, "prompt", False),
        ("prompts", ULTRAFEEDBACK, "prompt", True),
        ("prompts", {"messages": CHAT}, "messages", True),
        ("prompts", {"chosen": CHAT, "rejected": CHAT}, "implicit", True),
    ],
)
def test_formats_are_recognized_by_the_shape_that_is_wanted(shape, row, format, conversational):
    found = layout(row, shape)
    assert (found.format, found.conversational) == (format, conversational)


RATED = {"prompt": "q", "answers": ["a", "b"], "scores": [1, 2]}


def rated(row, shape, numbers=()):
    return recognize([row], Source(source="a.jsonl"), "a.jsonl", shape, numbers, "drop")


def test_answers_with_scores_are_pairs_or_rankings_where_the_recipe_trains_on_them():
    numbers = ("score_chosen", "score_rejected", "weight")
    found = rated({**RATED, "weight": 1}, "pairs", numbers)
    assert (found.ties, found.paired, found.format, found.columns) == ("drop", False, "prompt", numbers)
    assert found.columns_of_rows == ("weight",)
    assert rated(RATED, "rankings").ties == "drop"
    assert layout(RATED, "rankings").ties is None  # a command that scores answers leaves their order alone
    assert rated({**RATED, **PAIR}, "pairs").paired  # a pair that is written out is taken as it is
    with pytest.raises(DataError, match=r"^a\.jsonl has no column 'weight', which"):
        rated(RATED, "pairs", numbers)


def test_a_declared_format_is_taken_as_it_is():
    assert layout({"messages": CHAT[:1], "prompt": "q", **PAIR}, "pairs", format="messages").format == "messages"


def test_a_format_that_two_columns_could_mean_has_to_be_declared():
    assert fails({"messages": CHAT, "prompt": "q", "completion": "a"}, "tokens") == (
        "a.jsonl can be read as prompt or messages; write format: prompt (columns: messages, prompt, completion)"
    )


@pytest.mark.parametrize(
    ("shape", "needed"),
    [
        ("tokens", "messages, conversations, prompt and completion, instruction and output, or text"),
        (
            "pairs",
            "chosen and rejected, with prompt unless both hold the whole conversation, or prompt, answers and scores",
        ),
        ("unpaired", "prompt, completion and label, or chosen and rejected"),
        ("prompts", "prompt, messages, conversations or instruction"),
    ],
)
def test_columns_that_give_no_shape_are_listed_beside_those_needed(shape, needed):
    assert fails({"question": "q", "answer": "a"}, shape) == (
        f"a.jsonl: no format gives {shape} from the columns question, answer. Needed are {needed}; "
        "write columns: {OURS: THEIRS} if they go by other names"
    )


def test_columns_are_mapped_from_ours_to_theirs():
    row = {"question": "q", "better": "a", "rejected": "b", "prompt": "old"}
    assert layout(row, "pairs", columns={"prompt": "question", "chosen": "better"}).format == "prompt"
    mapped = renamed(row, {"prompt": "question", "chosen": "better"})
    assert mapped == {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert renamed({"chosen": "b", "rejected": "a"}, {"chosen": "rejected", "rejected": "chosen"}) == PAIR


def test_a_mapping_that_fits_nothing_is_an_error():
    row = {"question": "q", **PAIR}
    assert fails(row, "pairs", columns={"promt": "question"}) == (
        "a.jsonl: columns maps 'promt', which is no field of a row; did you mean 'prompt'?"
    )
    assert fails(row, "pairs", columns={"xyzzy": "question"}) == (
        "a.jsonl: columns maps 'xyzzy', which is no field of a row; known are prompt, messages, conversations, "
        "instruction, input, output, completion, chosen, rejected, answers, scores, label, text, system, images, image"
    )
    assert fails(row, "pairs", columns={"prompt": "query"}) == (
        "a.jsonl: columns: {prompt: query} names no column; there are question, chosen, rejected"
    )


def test_numbers_that_the_objective_reads_must_be_there():
    row = {"prompt": "q", **PAIR, "good": 1.0}
    assert layout(row, "pairs", ["score_chosen"], columns={"score_chosen": "good"}).columns == ("score_chosen",)
    assert fails(row, "pairs", ["score_chosen"]) == (
        "a.jsonl has no column 'score_chosen', which the objective reads; there are prompt, chosen, rejected, good. "
        "Write columns: {score_chosen: NAME} if it goes by another name"
    )


def test_columns_are_collected_from_all_first_rows():
    rows = [{"prompt": "q", "chosen": None}, PAIR]
    assert recognize(rows, Source(source="a.jsonl"), "a.jsonl", "pairs", ()).format == "prompt"


def test_column_types_are_fixed_by_the_layout():
    messages = List({"role": Value("string"), "content": Value("string")})
    plain = Layout(shape="pairs", format="prompt", conversational=False, columns=("score",))
    assert features(plain) == {
        "prompt": Value("string"),
        "chosen": Value("string"),
        "rejected": Value("string"),
        "score": Value("float64"),
    }
    chat = Layout(shape="tokens", format="sharegpt", conversational=True)
    assert features(chat) == {"messages": messages}
    unpaired = Layout(shape="unpaired", format="alpaca", conversational=True)
    assert features(unpaired) == {"prompt": messages, "completion": messages, "label": Value("bool")}
    assert features(Layout(shape="tokens", format="text", conversational=False)) == {"text": Value("string")}
    assert features(Layout(shape="prompts", format="implicit", conversational=True)) == {"prompt": messages}

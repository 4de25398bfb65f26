import pytest
from datasets import Dataset

from alignkit.data.account import take_account
from alignkit.data.errors import DataError
from alignkit.data.load import Data
from alignkit.data.sequences import Treatment
from alignkit.data.spec import DataSpec, Source
from alignkit.data.thresholds import check_thresholds
from alignkit.models.tiny import byte_tokenizer

ROWS = [
    {"prompt": "ab", "completion": "x" * length, "source": "a.jsonl", "place": f"a.jsonl:{i}"}
    for i, length in enumerate([5, 5, 5, 20], start=1)
]


@pytest.fixture
def tokenizer():
    return byte_tokenizer()


def spec(**options):
    return DataSpec(train=(Source(source="a.jsonl"),), **options)


def report(tokenizer, rows=ROWS, evaluation=None, **treatment):
    evaluation = Dataset.from_list(evaluation) if evaluation else None
    data = Data(train=Dataset.from_list(rows), eval=evaluation, fingerprints={}, report=())
    return take_account(data, "tokens", tokenizer, Treatment(**treatment))


def refused(*arguments):
    with pytest.raises(DataError) as error:
        check_thresholds(*arguments)
    return str(error.value)


def test_what_is_within_the_limits_passes(tokenizer):
    check_thresholds(report(tokenizer, max_length=8), spec(max_truncated=0.25, max_lost_end="25%"))
    check_thresholds(report(tokenizer, max_length=8), spec())


def test_too_many_long_examples_stop_the_run_and_say_what_to_do(tokenizer):
    assert refused(report(tokenizer, max_length=8), spec(max_truncated="1%")) == (
        "25 % of the training examples are longer than train.max_length = 8; data.max_truncated allows 1 %:\n"
        "  a.jsonl: 1 of 4, the longest has 23 tokens\n"
        "Raise train.max_length to 23 for all of them; leave out or shorten the long examples; "
        "or allow more with data.max_truncated."
    )


def test_the_evaluation_set_counts_too(tokenizer):
    found = report(tokenizer, ROWS[:3], ROWS, max_length=8)
    assert refused(found, spec(max_truncated=0)).startswith("25 % of the evaluation examples are longer")


def test_examples_that_are_dropped_count_as_long(tokenizer):
    rows = [*ROWS[:3], {**ROWS[0], "prompt": "y" * 20}]
    limits = spec(max_truncated=0.2, on_bad_rows="drop")
    assert refused(report(tokenizer, rows, max_length=8), limits).startswith("25 % of the training")


def test_lost_end_tokens_stop_the_run_with_the_advice_that_fits_their_cause(tokenizer):
    cut = refused(report(tokenizer, max_length=8), spec(max_lost_end=0.01))
    assert cut.startswith("25 % of the training examples lack the token that ends an answer")
    assert "Raise train.max_length to 23" in cut
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    chats = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}], "source": "a"}]
    assert "the chat template puts no end token" in refused(report(tokenizer, chats), spec(max_lost_end=0))


def test_the_length_that_almost_all_fit_is_named_too(tokenizer):
    rows = [{**ROWS[0], "completion": "x" * 20}] * 198 + [{**ROWS[0], "completion": "x" * 90}]
    message = refused(report(tokenizer, rows, max_length=8), spec(max_truncated=0))
    assert "Raise train.max_length to 93 for all of them, or to 23 for 99 % of the sequences;" in message


def test_examples_without_a_token_to_train_on_are_refused_by_name(tokenizer):
    rows = [{**ROWS[0], "prompt": "y" * 20, "place": f"a.jsonl:{i}"} for i in (1, 2)]
    message = (
        "2 training examples have no token to train on within train.max_length = 8:\n  a.jsonl:1\n  a.jsonl:2\n"
        "Raise train.max_length, shorten the prompts, or write data.on_bad_rows: drop to go on without them."
    )
    assert refused(report(tokenizer, rows, max_length=8), spec()) == message
    check_thresholds(report(tokenizer, rows, max_length=8), spec(on_bad_rows="drop"))
    evaluation = refused(report(tokenizer, ROWS, rows[:1], max_length=8), spec())
    assert evaluation.startswith("1 evaluation example has no token")


def test_a_long_list_of_places_is_cut(tokenizer):
    rows = [{**ROWS[0], "prompt": "y" * 20, "place": f"a.jsonl:{i}"} for i in range(25)]
    message = refused(report(tokenizer, rows, max_length=8), spec())
    assert "  a.jsonl:19\n  and 5 more\n" in message

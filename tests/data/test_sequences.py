import pytest
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from alignkit.data.sequences import TokenSequence, Treatment, end_tokens, sequences, special_tokens
from alignkit.models.sources import resolve
from alignkit.models.tiny import byte_tokenizer

PROMPT = [{"role": "user", "content": "Hi"}]
YES, NO = [{"role": "assistant", "content": "Yes"}], [{"role": "assistant", "content": "Not now"}]
THINKING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{% endif %}"


@pytest.fixture
def tokenizer():
    return byte_tokenizer()


def texts(found, tokenizer):
    """(name, what is only seen, what is trained on) of every sequence."""
    return [
        (
            one.name,
            tokenizer.decode([id for id, trained in zip(one.ids, one.trained, strict=True) if not trained]),
            tokenizer.decode([id for id, trained in zip(one.ids, one.trained, strict=True) if trained]),
        )
        for one in found
    ]


ASKED = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"prompt": PROMPT, "chosen": YES, "rejected": NO, "source": "a.jsonl", "place": "a.jsonl:1"},
            [("chosen", ASKED, "Yes<|im_end|>\n"), ("rejected", ASKED, "Not now<|im_end|>\n")],
        ),
        ({"prompt": PROMPT, "completion": YES, "label": True}, [("completion", ASKED, "Yes<|im_end|>\n")]),
        (
            {"prompt": PROMPT, "answers": [YES, NO]},
            [("answer 1", ASKED, "Yes<|im_end|>\n"), ("answer 2", ASKED, "Not now<|im_end|>\n")],
        ),
        ({"prompt": "a", "answers": ["b", "c"]}, [("answer 1", "a", "b<|im_end|>"), ("answer 2", "a", "c<|im_end|>")]),
        ({"prompt": "2 + 2 =", "completion": " 4"}, [("completion", "2 + 2 =", " 4<|im_end|>")]),
        ({"prompt": "a", "completion": "b<|im_end|>"}, [("completion", "a", "b<|im_end|>")]),
        ({"messages": PROMPT + YES}, [("messages", "", ASKED + "Yes<|im_end|>\n")]),
        ({"text": "Hi"}, [("text", "", "Hi<|im_end|>")]),
        ({"prompt": PROMPT}, [("prompt", ASKED, "")]),
    ],
)
def test_rows_become_sequences_with_the_template_once(tokenizer, row, expected):
    assert texts(sequences(row, tokenizer), tokenizer) == expected


def test_only_the_assistants_turns_are_trained_on_when_asked(tokenizer):
    row = {"messages": PROMPT + YES + PROMPT + NO}
    [(_, _, trained)] = texts(sequences(row, tokenizer, Treatment(assistant_only=True)), tokenizer)
    assert trained == "Yes<|im_end|>Not now<|im_end|>"


def test_the_answer_begins_where_prompt_and_whole_part(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.rpartition("{% if add_generation_prompt %}")[0] + THINKING
    found = sequences({"prompt": PROMPT, "chosen": YES, "rejected": NO}, tokenizer)
    assert texts(found, tokenizer)[0] == ("chosen", ASKED, "Yes<|im_end|>\n")
    assert [one.left_out for one in found] == [len("<think>\n\n</think>\n\n")] * 2


def test_a_pair_starts_at_the_same_token_for_both_answers(tokenizer):
    """The prompt alone ends with a token that one answer's whole has too."""
    tokenizer.chat_template = tokenizer.chat_template.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\nY'")
    found = sequences({"prompt": PROMPT, "chosen": YES, "rejected": NO}, tokenizer)
    assert [one.left_out for one in found] == [1, 1]
    assert texts(found, tokenizer)[0][2] == "Yes<|im_end|>\n"


def test_truncation_cuts_at_either_end():
    whole = TokenSequence(name="text", ids=[1, 2, 3], trained=[False, True, True])
    start, end = Treatment(max_length=2), Treatment(max_length=2, truncation="keep_end")
    assert whole.cut(start) == TokenSequence(name="text", ids=[1, 2], trained=[False, True])
    assert whole.cut(end) == TokenSequence(name="text", ids=[2, 3], trained=[True, True])
    drop = Treatment(max_length=2, truncation="drop")
    assert (len(whole.cut(drop).ids), len(whole.cut(drop).trained)) == (0, 0)
    assert whole.cut(Treatment(max_length=9, truncation="drop")) == whole
    assert whole.cut(Treatment()) == whole.cut(Treatment(max_length=9, truncation="keep_end")) == whole


@pytest.mark.parametrize(
    ("ids", "max_length", "truncation", "ends"),
    [
        ([1, 2, 9, 3], 4, "keep_start", True),
        ([1, 2, 9, 3], 3, "keep_start", True),
        ([1, 2, 9, 3], 2, "keep_start", False),
        ([1, 2, 9, 3], 2, "keep_end", True),
        ([1, 2, 9, 3], None, "keep_start", True),
        ([1, 2, 3, 4], None, "keep_start", False),
        ([9, 1, 2, 3, 4], None, "keep_start", False),
        ([9, 2], None, "keep_start", False),
    ],
)
def test_an_answer_ends_if_its_end_token_is_trained_on_and_not_cut_off(ids, max_length, truncation, ends):
    whole = TokenSequence(name="text", ids=ids, trained=[False] + [True] * (len(ids) - 1))
    assert whole.ends_within(frozenset({9}), Treatment(max_length=max_length, truncation=truncation)) is ends


def test_end_tokens_are_the_end_of_text_and_that_of_a_turn(tokenizer):
    turn, text = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert end_tokens(tokenizer) == {turn}
    tokenizer.eos_token = "<|endoftext|>"
    assert end_tokens(tokenizer) == {turn, text}
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
    assert end_tokens(tokenizer) == {text}
    tokenizer.chat_template = None
    assert end_tokens(tokenizer) == {text}


def test_special_tokens_go_by_their_text(tokenizer):
    tokenizer.add_tokens(["<think>"])
    assert set(special_tokens(tokenizer)) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}


QUIET = {"use_cpu": True, "bf16": False, "report_to": "none", "gradient_checkpointing": False, "disable_tqdm": True}
PAIRS = [{"prompt": PROMPT, "chosen": YES, "rejected": NO}, {"prompt": PROMPT, "chosen": NO, "rejected": YES}]


@pytest.mark.parametrize("plain", [False, True])
def test_pairs_are_tokenized_as_dpo_trainer_does(tokenizer, tmp_path, plain):
    rows = [{"prompt": "2 + 2", "chosen": " = 4", "rejected": " = 5!"}] if plain else PAIRS
    args = DPOConfig(output_dir=str(tmp_path), max_length=512, **QUIET)
    trainer = DPOTrainer(
        resolve("tiny:llama"), args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
    for row, theirs in zip(rows, trainer.train_dataset, strict=True):
        for ours in sequences(row, tokenizer):
            assert list(ours.ids) == theirs["prompt_ids"] + theirs[f"{ours.name}_ids"]
            assert sum(ours.trained) == len(theirs[f"{ours.name}_ids"])


@pytest.mark.parametrize(
    ("row", "assistant_only"),
    [
        ({"messages": PROMPT + YES}, False),
        ({"messages": PROMPT + YES + PROMPT + NO}, True),
        ({"prompt": PROMPT, "completion": YES}, False),
        ({"prompt": "2 + 2", "completion": " = 4"}, False),
        ({"text": "Hello"}, False),
    ],
)
def test_tokens_are_tokenized_as_sft_trainer_does(tokenizer, tmp_path, row, assistant_only):
    args = SFTConfig(output_dir=str(tmp_path), assistant_only_loss=assistant_only, **QUIET)
    trainer = SFTTrainer(
        resolve("tiny:llama"), args=args, train_dataset=Dataset.from_list([row]), processing_class=tokenizer
    )
    [theirs], [ours] = trainer.train_dataset, sequences(row, tokenizer, Treatment(assistant_only=assistant_only))
    assert list(ours.ids) == theirs["input_ids"]
    assert [label != -100 for label in theirs["labels"]] == list(ours.trained)

import logging

from alignkit.models.padding import pad_apart_from_eos
from alignkit.models.tiny import byte_tokenizer


def test_a_padding_token_of_its_own_is_left_alone():
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = "a"
    pad_apart_from_eos(tokenizer)
    assert tokenizer.pad_token == "a"


def test_a_missing_padding_token_is_taken_from_the_vocabulary_and_recorded(caplog):
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = None
    with caplog.at_level(logging.INFO):
        pad_apart_from_eos(tokenizer)
    assert tokenizer.pad_token == "<|endoftext|>"
    assert "padding token of the tokenizer: <|endoftext|> instead of None (eos is <|im_end|>)" in caplog.text


def test_padding_moves_away_from_the_end_of_turn():
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    size = len(tokenizer)
    pad_apart_from_eos(tokenizer)
    assert tokenizer.pad_token == "<|endoftext|>"
    assert len(tokenizer) == size


def test_a_vocabulary_with_nothing_to_spare_pads_with_eos():
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"  # as GPT-2: the only special token is eos
    tokenizer.pad_token = None
    pad_apart_from_eos(tokenizer)
    assert tokenizer.pad_token == "<|endoftext|>"

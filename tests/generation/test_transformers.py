"""Sampling with transformers on a tiny model."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignkit.generation import ConversationTooLong, TransformersSampler
from alignkit.models.sources import resolve


@pytest.fixture(scope="module")
def loaded():
    path = resolve("tiny:llama")
    return {"model": AutoModelForCausalLM.from_pretrained(path), "tokenizer": AutoTokenizer.from_pretrained(path)}


def chat(text):
    return [{"role": "user", "content": text}]


def test_batches_of_unequal_prompts_answer_as_each_alone(loaded):
    sampler = TransformersSampler(**loaded, max_new_tokens=8)
    chats = [chat("a"), chat("a much longer question, with many words"), chat("bc")]
    assert sampler(chats) == [sampler([one])[0] for one in chats]


def test_n_answers_a_chat_in_order_and_repeatable(loaded):
    sampler = TransformersSampler(**loaded, max_new_tokens=6, temperature=1.0, batch_size=2)
    chats = [chat("a"), chat("longer question")]
    first = sampler(chats, n=3)
    assert [len(answers) for answers in first] == [3, 3]
    assert first == sampler(chats, n=3)
    assert len(set(first[0])) > 1
    assert first != TransformersSampler(**loaded, max_new_tokens=6, temperature=1.0, batch_size=2, seed=1)(chats, n=3)


def test_an_answer_says_how_long_it_is_and_whether_it_came_to_an_end(loaded):
    """With every token but one in the way of an end, an answer has as many tokens as it may."""
    short = TransformersSampler(**loaded, max_new_tokens=3, temperature=1.0)
    (answers,) = short.draw([chat("a")], n=8)
    assert {(answer.tokens, answer.truncated) for answer in answers} == {(3, True)}
    long = TransformersSampler(**loaded, max_new_tokens=400, temperature=1.5, batch_size=16)
    (answers,) = long.draw([chat("a")], n=16)
    ended = [answer for answer in answers if not answer.truncated]
    assert ended
    tokens = loaded["tokenizer"]
    assert all(len(tokens(answer.text)["input_ids"]) + 1 == answer.tokens for answer in ended if answer.text.isascii())
    assert all(answer.tokens == 400 for answer in answers if answer.truncated)


def test_plain_text_is_taken_as_it_is(loaded):
    sampler = TransformersSampler(**loaded, max_new_tokens=8)
    template = loaded["tokenizer"].apply_chat_template(chat("a"), add_generation_prompt=True, tokenize=False)
    assert sampler.draw([template]) == sampler.draw([chat("a")])
    assert sampler.draw(["a"]) != sampler.draw([chat("a")])


def test_the_model_is_left_in_training_mode(loaded):
    loaded["model"].train()
    TransformersSampler(**loaded, max_new_tokens=1)([chat("a")])
    assert loaded["model"].training
    loaded["model"].eval()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_streamed_answer_is_the_answer_in_pieces(loaded, temperature):
    sampler = TransformersSampler(**loaded, max_new_tokens=40, temperature=temperature)
    pieces = []
    answer = sampler.stream(chat("one two three"), pieces.append)
    assert [[answer]] == sampler([chat("one two three")])
    assert "".join(pieces) == answer


def test_a_conversation_ends_where_the_model_does(loaded):
    sampler = TransformersSampler(**loaded, max_new_tokens=40, temperature=1.0)
    reads = loaded["model"].config.max_position_embeddings
    around = len(sampler._prompt(chat("")))
    pieces = []
    sampler.stream(chat("a" * (reads - around - 3)), pieces.append)
    assert len("".join(pieces).encode()) <= 3 * 3  # a byte that is no text is shown as three
    with pytest.raises(ConversationTooLong, match=f"has {reads} tokens, and the model reads {reads}"):
        sampler.stream(chat("a" * (reads - around)), pieces.append)


def test_an_interrupted_stream_leaves_the_model_as_it_was(loaded):
    def interrupt(text):
        raise KeyboardInterrupt

    loaded["model"].train()
    state = torch.random.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        TransformersSampler(**loaded, max_new_tokens=40, temperature=1.0).stream(chat("a"), interrupt)
    assert loaded["model"].training
    assert torch.equal(torch.random.get_rng_state(), state)
    loaded["model"].eval()


def test_a_negative_temperature_is_refused(loaded):
    with pytest.raises(ValueError, match="temperature = -1 must be 0"):
        TransformersSampler(**loaded, temperature=-1)

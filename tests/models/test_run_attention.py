"""Attention kernels over runs. FlashAttention needs a GPU: its ragged form is computed here the long way."""

import pytest
import torch
from transformers import modeling_flash_attention_utils as flash
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from alignkit.models import run_attention
from alignkit.models.run_attention import _block_mask, _blocks
from alignkit.models.shared_prefix import Packed, Run
from tests.models.shared import answers_and_gradients, assert_same, model_of, pairs

RUNS = (
    Run(before=(), start=0, length=7),
    Run(before=((0, 5),), start=5, length=3),
    Run(before=((0, 5), (1, 1)), start=6, length=2),
    Run(before=(), start=0, length=2),
)


def ragged(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
):
    """What flash_attn_varlen_func computes: the last query of each sequence is aligned with its last key."""
    assert causal
    outputs = []
    ends = zip(cu_seqlens_q, cu_seqlens_q[1:], cu_seqlens_k, cu_seqlens_k[1:], strict=False)
    for first, last, first_key, last_key in ends:
        one, keys, values = q[first:last], k[first_key:last_key], v[first_key:last_key]
        assert len(one) <= max_seqlen_q
        assert len(keys) <= max_seqlen_k
        keys, values = (x.repeat_interleave(q.size(1) // k.size(1), dim=1) for x in (keys, values))
        scores = torch.einsum("qhd,khd->hqk", one, keys) * softmax_scale
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        distance = torch.arange(len(one))[:, None] + len(keys) - len(one) - torch.arange(len(keys))
        far = distance > window_size[0] if window_size[0] >= 0 else distance < 0
        scores = scores.masked_fill(far | (distance < 0), -torch.inf)
        outputs.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), values))
    return torch.cat(outputs)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_flash_attention_is_given_each_run_with_what_is_before_it(family, monkeypatch):
    model, batch = model_of(family), pairs()
    expected = answers_and_gradients(model, batch, monkeypatch)
    functions = ((None, ragged, None, None, None), (flash._lazy_define_process_function(ragged), None))
    monkeypatch.setattr(flash, "lazy_import_flash_attention", lambda _: functions)
    monkeypatch.setattr(flash, "fa_peft_integration_check", lambda q, k, v, _: (q, k, v))
    model.config._attn_implementation = "flash_attention_2"
    assert_same(answers_and_gradients(model, batch), expected)


@pytest.mark.parametrize("window", [None, 3])
def test_flex_attention_s_mask_lets_tokens_see_their_row(window):
    positions = torch.cat([run.start + torch.arange(run.length) for run in RUNS])[None]
    empty = torch.zeros(0)
    packed = Packed(input_ids=positions, position_ids=positions, places=empty, rows=empty, runs=RUNS)
    allowed = _block_mask(packed, window).mask_mod
    index = torch.arange(positions.size(1))
    found = allowed(None, None, index[:, None], index[None])
    starts = [0, 7, 10, 12]
    expected = torch.zeros_like(found)
    for number, run in enumerate(RUNS):
        row = [starts[of] + i for of, length in (*run.before, (number, run.length)) for i in range(length)]
        for position in range(run.start, run.start + run.length):
            first = 0 if window is None else max(position - window + 1, 0)
            expected[row[position], row[first : position + 1]] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["qwen3", "phi3"])
def test_queries_may_come_in_many_blocks(kernel, family, monkeypatch):
    model, batch = model_of(family), pairs()
    model.set_attn_implementation(kernel)
    expected = answers_and_gradients(model, batch, monkeypatch)
    monkeypatch.setattr(run_attention, "QUERIES", 7)
    assert_same(answers_and_gradients(model, batch), expected)


def test_a_run_with_nothing_before_it_is_left_to_the_kernel():
    (block,) = _blocks(RUNS, 0, None, causal=True)
    assert (block.keys, block.masked) == (((0, 0, 7),), False)
    (block,) = _blocks(RUNS, 0, None, causal=False)
    assert block.masked


def test_an_answer_much_longer_than_its_prompt_takes_the_prompt_s_queries_along(monkeypatch):
    """Causal over both are fewer scores than a mask over a square."""
    (block,) = _blocks((RUNS[0], Run(before=((0, 4),), start=4, length=9)), 1, None, causal=True)
    assert (block.keys, block.masked, block.scores) == (((0, 0, 4), (1, 0, 9)), False, 13 * 14 // 2)
    (block,) = _blocks((RUNS[0], Run(before=((0, 4),), start=4, length=9)), 1, 12, causal=True)
    assert block.masked
    model, batch = model_of("llama"), pairs(prompts=(20,), answers=(60, 50))
    assert_same(answers_and_gradients(model, batch), answers_and_gradients(model, batch, monkeypatch))


def test_a_window_leaves_out_keys_that_no_query_sees():
    (block,) = _blocks(RUNS, 2, 2, causal=True)  # queries at 6 and 7
    assert block.keys == ((1, 0, 1), (2, 0, 2))
    (block,) = _blocks(RUNS, 2, 4, causal=True)
    assert block.keys == ((0, 3, 5), (1, 0, 1), (2, 0, 2))


def test_a_plain_forward_is_what_it_was():
    model, ids = model_of("llama").eval(), torch.arange(40)[None]
    before = model(ids).logits
    run_attention.attend_to_runs(model)
    wrapped = ALL_ATTENTION_FUNCTIONS["sdpa"]
    run_attention.attend_to_runs(model)
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is wrapped
    assert torch.equal(model(ids).logits, before)

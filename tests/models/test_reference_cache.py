"""Log-probs kept by content: what is read back, and what makes a key or a fingerprint another one."""

import logging
import math

import pytest
import torch
from peft import get_peft_model

from alignkit.models import reference_cache
from alignkit.models.adapters import peft_config
from alignkit.models.reference_cache import SIZE, LogpCache, fingerprint_of, keys_of
from alignkit.models.spec import Adapter
from tests.models.shared import model_of

KEYS = [bytes([number]) * 16 for number in range(3)]
LOGPS = torch.tensor([-1.1, -2.2, -3.3]).tolist()


@pytest.fixture
def folder(tmp_path):
    LogpCache(tmp_path / "kept").settle(KEYS, LOGPS)
    return tmp_path / "kept"


def test_what_was_kept_is_read_back_to_the_bit(folder):
    cache = LogpCache(folder)
    assert cache.find(KEYS) == LOGPS
    assert cache.find([KEYS[0], b"x" * 16]) is None
    assert cache.settle([KEYS[0], b"x" * 16], [-9.0, -4.0]) == [LOGPS[0], -4.0]  # the first stays
    assert len(list(folder.iterdir())) == 2  # each process writes a file of its own
    assert LogpCache(folder).find([*KEYS, b"x" * 16]) == [*LOGPS, -4.0]


def test_what_is_no_number_is_not_kept_for_other_runs(folder):
    cache = LogpCache(folder)
    assert math.isnan(cache.settle([b"x" * 16], [math.nan])[0])
    assert LogpCache(folder).find([b"x" * 16]) is None


def test_a_process_that_finds_everything_writes_nothing(folder):
    LogpCache(folder).settle(KEYS, LOGPS)
    assert len(list(folder.iterdir())) == 1


def test_processes_keep_what_the_first_of_them_found(folder, tmp_path):
    """And write down what each found itself, with the value that is kept."""
    others, mine = {b"x" * 16: -4.0, b"z" * 16: -6.0}, {b"x" * 16: -5.0, b"y" * 16: -7.0}
    cache = LogpCache(tmp_path / "other")
    assert cache.settle([*mine], [*mine.values()], lambda own: [others, own]) == [-4.0, -7.0]
    assert cache.find([*others]) == [-4.0, -6.0]
    assert LogpCache(tmp_path / "other").known == {b"x" * 16: -4.0, b"y" * 16: -7.0}


@pytest.mark.parametrize("end", range(1, SIZE))
def test_a_record_that_is_cut_off_is_missing(folder, end):
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[: 2 * SIZE + end])
    cache = LogpCache(folder)
    assert cache.find(KEYS[:2]) == LOGPS[:2]
    assert cache.find(KEYS) is None
    cache.settle(KEYS, LOGPS)
    assert LogpCache(folder).find(KEYS) == LOGPS


@pytest.mark.parametrize("at", [0, 15, 16, 19, 20, 23])
def test_a_damaged_record_is_missing(folder, at):
    (file,) = folder.iterdir()
    data = bytearray(file.read_bytes())
    data[SIZE + at] ^= 1
    file.write_bytes(data)
    assert {*LogpCache(folder).known} == {KEYS[0], KEYS[2]}


def test_a_folder_that_cannot_be_written_ends_no_run(tmp_path, caplog):
    (tmp_path / "file").touch()
    cache = LogpCache(tmp_path / "file" / "kept")
    with caplog.at_level(logging.WARNING):
        assert cache.settle(KEYS, LOGPS) == LOGPS
        cache.settle([b"y" * 16], [-1.0])
    assert cache.find(KEYS) == LOGPS
    (line,) = caplog.messages
    assert line == f"reference log-probs are not kept for the next run: {tmp_path / 'file' / 'kept'}: Not a directory"


def test_padding_changes_no_key_and_tokens_and_what_is_scored_do():
    ids, scored = torch.tensor([[5, 6, 7, 0], [0, 5, 6, 7]]), torch.tensor([[0, 0, 1, 0], [0, 0, 0, 1]]).bool()
    mask = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]])
    one, same = keys_of(ids, mask, scored)
    assert one == same
    others = [
        keys_of(ids[:1] + torch.tensor([1, 0, 0, 0]), mask[:1], scored[:1]),
        keys_of(ids[:1], mask[:1], torch.tensor([[0, 1, 1, 0]]).bool()),
        keys_of(ids[:1, :3], mask[:1, :3] * torch.tensor([0, 1, 1]), scored[:1, :3]),
    ]
    assert len({one, *(key for (key,) in others)}) == 4


def test_everything_a_log_prob_depends_on_makes_another_fingerprint(monkeypatch):
    model = model_of("llama")
    facts = {"precision": "no"}
    first = fingerprint_of(model, facts)
    assert fingerprint_of(model_of("llama"), facts) == first
    found = {first, fingerprint_of(model, {"precision": "bf16"}), fingerprint_of(model_of("qwen3"), facts)}
    found.add(fingerprint_of(model_of("llama").to(torch.bfloat16), facts))
    model.config._name_or_path, model.config.use_cache = "elsewhere", False  # as TRL sets it
    assert fingerprint_of(model, facts) == first
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 2] += 1e-6
    found.add(fingerprint_of(model, facts))
    model.config.rope_parameters["rope_theta"] = 1.0
    found.add(fingerprint_of(model, facts))
    model.set_attn_implementation("eager")
    found.add(fingerprint_of(model, facts))
    monkeypatch.setattr(reference_cache.torch, "__version__", "0")
    found.add(fingerprint_of(model, facts))
    assert len(found) == 8


def test_an_adapter_is_no_part_of_the_reference_unless_it_is_frozen():
    plain = fingerprint_of(model_of("llama"), {})
    model = get_peft_model(model_of("llama"), peft_config(Adapter(rank=2)))
    assert fingerprint_of(model, {}) == plain
    model.add_adapter("ref", peft_config(Adapter(rank=2)))
    assert fingerprint_of(model, {}) != plain

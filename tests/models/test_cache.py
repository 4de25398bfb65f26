import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from transformers import AutoModelForCausalLM
from transformers.integrations import deepspeed as zero

from alignkit.models.cache import built_once, cache_folder, save_here
from alignkit.models.sources import resolve


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path))


def test_a_folder_is_built_once_and_kept():
    calls = []

    def build(folder):
        calls.append(folder.name)
        (folder / "weights").write_text("all of them")

    first = built_once("a", build)
    assert built_once("a", build) == first == cache_folder() / "models" / "a"
    assert (first / "weights").read_text() == "all of them"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing_and_can_be_repeated():
    def fail(folder):
        (folder / "weights").write_text("half of th")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        built_once("a", fail)
    assert [path.name for path in (cache_folder() / "models").iterdir()] == ["a.lock"]
    assert built_once("a", lambda folder: None).is_dir()


def test_what_a_killed_process_left_is_thrown_away():
    left = cache_folder() / "models" / "a.partial"
    left.mkdir(parents=True)
    (left / "weights").write_text("half of th")
    assert list(built_once("a", lambda folder: None).iterdir()) == []
    assert not left.exists()


def test_ranks_that_ask_together_build_once():
    calls, both = [], threading.Barrier(2)

    def build(folder):
        calls.append(threading.get_ident())

    def rank(_):
        both.wait()
        return built_once("a", build)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(rank, range(2))
    assert first == second
    assert len(calls) == 1


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"cannot write to the cache folder .*file.*; set ALIGNKIT_CACHE to a folder"):
        built_once("a", lambda folder: None)


def test_weights_are_whole_while_building_under_a_launcher_that_shards_them(monkeypatch):
    class ZeRO3:
        def is_zero3(self):
            return True

    def build(folder):
        seen.append((zero.is_deepspeed_zero3_enabled(), "ACCELERATE_USE_FSDP" in os.environ))

    seen, launched = [], ZeRO3()
    zero.set_hf_deepspeed_config(launched)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    try:
        built_once("a", build)
        assert seen == [(False, False)]
        assert zero.is_deepspeed_zero3_enabled()
        assert os.environ["ACCELERATE_USE_FSDP"] == "true"
    finally:
        zero.unset_hf_deepspeed_config()


def test_a_rank_that_is_not_the_first_saves_the_model_too(tmp_path, monkeypatch):
    """Whichever rank gets the lock builds the folder for all."""
    model = AutoModelForCausalLM.from_pretrained(resolve("tiny:llama"))
    monkeypatch.setattr("transformers.distributed.mixin._is_torch_distributed_initialized", lambda: True)
    monkeypatch.setattr("transformers.distributed.mixin._get_torch_distributed_rank", lambda: 1)
    model.save_pretrained(tmp_path / "theirs")
    assert not (tmp_path / "theirs" / "config.json").exists(), "transformers saves on every rank now; save_here may go"
    save_here(model, tmp_path / "ours")
    assert {"config.json", "model.safetensors"} <= {file.name for file in (tmp_path / "ours").iterdir()}

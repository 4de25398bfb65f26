"""Model folders that are built once and kept: converted files and tiny models."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from transformers import PreTrainedModel
from transformers.integrations import deepspeed as zero


def cache_folder() -> Path:
    """Where built models are kept: ALIGNKIT_CACHE, or ~/.cache/alignkit."""
    return Path(os.environ.get("ALIGNKIT_CACHE") or "~/.cache/alignkit").expanduser().absolute()


def built_once(name: str, build: Callable[[Path], None]) -> Path:
    """Folder `name` of the cache, made by `build(folder)` if it is not there yet.

    The folder appears under its name only when it is complete, and ranks that ask together wait for the first.

    Raises:
        ValueError: the cache folder cannot be written.
    """
    target = cache_folder() / "models" / name
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(name + ".lock"))
        lock.acquire()
    except OSError as error:
        raise ValueError(
            f"cannot write to the cache folder {cache_folder()}: {error.strerror}; "
            "set ALIGNKIT_CACHE to a folder you can write to"
        ) from error
    try:
        if not target.is_dir():  # another process may have built it while this one waited
            _build_aside(target, build)
    finally:
        lock.release()
    return target


def save_here(model: PreTrainedModel, folder: Path) -> None:
    """Save a model on whatever rank this is; transformers would write nothing, in silence, on any but the first."""
    # this model alone saves everywhere, so its method is replaced
    model.should_save_on_this_rank = lambda is_main_process: True  # type: ignore[method-assign]
    model.save_pretrained(folder)


def sha256(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _build_aside(target: Path, build: Callable[[Path], None]) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed: this one holds the lock
    partial.mkdir()
    try:
        with whole_weights():
            build(partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def whole_weights() -> Iterator[None]:
    """Let transformers load all of a model on this rank, for itself.

    Else ZeRO-3 has a part of the weights on each rank, and waits for all; FSDP has them on the first rank alone.
    """
    reference = zero._hf_deepspeed_config_weak_ref  # transformers has functions to set and unset it, none to read it
    fsdp = os.environ.pop("ACCELERATE_USE_FSDP", None)
    zero.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if reference is not None and reference() is not None:
            zero.set_hf_deepspeed_config(reference())
        if fsdp is not None:
            os.environ["ACCELERATE_USE_FSDP"] = fsdp

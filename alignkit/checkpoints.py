"""Checkpoints that are whole or not there: written aside, brought to the disk, sealed by checksums, then renamed.

    OUTPUT/_saving/checkpoint-8      being written; worth nothing, and removed by whoever saves next
    OUTPUT/checkpoint-8              whole when it was renamed: `manifest.json` has size and SHA-256 of every file,
                                     `manifest.hmac` its HMAC-SHA-256 under a key that lies elsewhere
    OUTPUT/_pruned/checkpoint-4      being removed, or replaced by one of the same step

A process may be killed between any two writes. Names decide the order, never times: clocks can be set back.

Checksums say that a checkpoint is whole, and whoever can change its files can change them too. The key says who wrote
it: parts of a checkpoint are pickles, DeepSpeed's among them, and reading a stranger's pickle runs the stranger's code.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, count
from pathlib import Path

MANIFEST = "manifest.json"
SIGNATURE = "manifest.hmac"
KEY = "checkpoint.key"
ASIDE = "_saving"  # names with an underscore are not pushed to the Hub
PRUNED = "_pruned"

_NAME = re.compile(r"checkpoint-(\d+)")


def found(folder: Path) -> list[Path]:
    """Checkpoints of a run by their names, the newest first; whole or not."""
    named = [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(named, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint} has no name of a checkpoint, such as checkpoint-8")
    return int(match[1])


def holds_weights_alone(checkpoint: Path) -> bool:
    """Whether it was saved with `save_only_model`, so that no run can go on from it as if nothing had happened."""
    return not any(checkpoint.glob("rng_state*.pth"))


def seal(checkpoint: Path) -> None:
    """Write the manifest, and bring everything in the folder to the disk."""
    listed = {name: {"bytes": size, "sha256": digest} for name, size, digest in _contents(checkpoint)}
    (checkpoint / MANIFEST).write_text(json.dumps(listed, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sign(checkpoint)
    for path in (*_files(checkpoint), *(one for one in checkpoint.rglob("*") if one.is_dir()), checkpoint):
        _to_disk(path)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, naming the file; None if every file is as it was sealed.

    Files that were added are for `stranger` to see.
    """
    try:
        listed = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in listed.items():
            file = checkpoint / name
            if not file.is_file():
                return f"{name} is missing"
            if (size := file.stat().st_size) != expected["bytes"]:
                return f"{name} has {size} bytes, not {expected['bytes']}"
            if _sha256(file) != expected["sha256"]:
                return f"{name} is not what was written: its checksum differs"
    except FileNotFoundError:
        return f"it has no {MANIFEST}: it was never finished, or not saved by alignkit"
    except OSError as error:
        return f"it cannot be read: {error}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def state_folder() -> Path:
    """Where what outlives runs is kept, apart from all of them: ALIGNKIT_STATE, or ~/.local/state/alignkit."""
    return Path(os.environ.get("ALIGNKIT_STATE") or "~/.local/state/alignkit").expanduser().absolute()


def sign(checkpoint: Path) -> None:
    """Write the HMAC of the manifest under this user's key; a warning where there can be no key."""
    try:
        key = _key(make=True)
    except OSError as error:
        (checkpoint / SIGNATURE).unlink(missing_ok=True)
        warnings.warn(f"checkpoints are not signed, since {state_folder()} cannot be written: {error}", stacklevel=2)
        return
    (checkpoint / SIGNATURE).write_text(_hmac(key, checkpoint) + "\n", encoding="utf-8")


def stranger(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be said to be this user's own; None if it is, as far as `damage` finds none."""
    try:
        key = _key(make=False)
        signature = (checkpoint / SIGNATURE).read_text(encoding="utf-8").strip()
        if not hmac.compare_digest(signature.encode(), _hmac(key, checkpoint).encode()):
            return f"it was signed with another key than {state_folder() / KEY}"
        listed = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        return f"there is no {error.filename}"
    except (OSError, ValueError) as error:
        return f"its signature cannot be read: {error}"
    for path in checkpoint.rglob("*"):
        if path.is_symlink():  # which may lead to more than was signed
            return f"{path.relative_to(checkpoint)} is a link to somewhere else"
    added = {str(file.relative_to(checkpoint)) for file in _files(checkpoint)} - {*listed, MANIFEST, SIGNATURE}
    return f"{min(added)} was added to it" if added else None


def refuse_unfit(checkpoint: Path) -> None:
    """Refuse a checkpoint that is damaged, or not known to be this user's own.

    Raises:
        ValueError: says why, and what to do.
    """
    if (wrong := damage(checkpoint)) is not None:
        raise ValueError(f"{checkpoint}: {wrong}")
    refuse_stranger(checkpoint)


def refuse_stranger(checkpoint: Path) -> None:
    """Refuse a checkpoint that is not known to be this user's own.

    Raises:
        ValueError: says why, and what makes it so.
    """
    if (why := stranger(checkpoint)) is not None:
        raise ValueError(
            f"{checkpoint} is not known to be yours: {why}. To go on from it would read files that can run code. If it "
            "is a run's of yours from another machine or container, let both use one folder ALIGNKIT_STATE, or sign it "
            "once with --adopt; move away what was added"
        )


def newest_whole(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is as it was sealed; `say` is told why newer ones are passed over."""
    for checkpoint in found(folder):
        wrong = damage(checkpoint)
        if wrong is None:
            return checkpoint
        say(f"{checkpoint} is passed over: {wrong}")
    return None


def publish(aside: Path, folder: Path) -> Path:
    """Give a sealed checkpoint its place in `folder`, instead of one of the same name."""
    place = folder / aside.name
    if place.exists():  # the same step again, as after an interruption
        _out_of_the_way(place)
    aside.rename(place)
    _to_disk(folder)
    shutil.rmtree(folder / PRUNED, ignore_errors=True)
    return place


def recover(folder: Path) -> None:
    """Give its place to a checkpoint that was sealed, and whose process was killed before it had its name."""
    for aside in found(folder / ASIDE):
        if not (folder / aside.name).exists() and damage(aside) is None:
            aside.rename(folder / aside.name)
            _to_disk(folder)


def prune(folder: Path, keep: int | None, always: Collection[str] = ()) -> None:
    """Remove all but the newest `keep` checkpoints and those named in `always`. None removes nothing.

    Nothing goes unless the newest one is verified.
    """
    if keep is None:
        return
    newest_first = found(folder)
    superfluous = [one for one in newest_first[max(keep, 1) :] if one.name not in always]
    if superfluous and damage(newest_first[0]) is None:  # reads it whole, so only where it decides something
        for checkpoint in superfluous:
            _out_of_the_way(checkpoint)
        shutil.rmtree(folder / PRUNED, ignore_errors=True)


def set_aside(checkpoints: Iterable[Path], place: Path) -> Path:
    """Move checkpoints to `place`, or to `place-2` and so on where something is there: nothing is removed."""
    numbered = (place.with_name(f"{place.name}-{number}") for number in count(2))
    free = next(one for one in chain([place], numbered) if not one.exists())
    free.mkdir()
    for checkpoint in checkpoints:
        checkpoint.rename(free / checkpoint.name)
    return free


def clear_aside(folder: Path) -> None:
    """Remove what a process that died left half written or half removed."""
    for name in (ASIDE, PRUNED):
        shutil.rmtree(folder / name, ignore_errors=True)


def _out_of_the_way(checkpoint: Path) -> None:
    """Rename one that will be removed: a folder that is half removed must not look like a checkpoint."""
    aside = checkpoint.parent / PRUNED / checkpoint.name
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(exist_ok=True)
    checkpoint.rename(aside)


def _key(make: bool) -> bytes:
    """This user's key, made where there is none and `make` asks for it. OSError if it cannot be had."""
    file = state_folder() / KEY
    if make and not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = file.with_name(f"{KEY}.{os.getpid()}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as content:
            content.write(secrets.token_bytes(32))
        try:
            os.link(aside, file)  # fails where another process was first, whose key it is then
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return file.read_bytes()


def _hmac(key: bytes, checkpoint: Path) -> str:
    return hmac.new(key, (checkpoint / MANIFEST).read_bytes(), "sha256").hexdigest()


def _contents(checkpoint: Path) -> Iterator[tuple[str, int, str]]:
    for file in _files(checkpoint):
        if file.name not in (MANIFEST, SIGNATURE) or file.parent != checkpoint:
            yield str(file.relative_to(checkpoint)), file.stat().st_size, _sha256(file)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """fsync a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

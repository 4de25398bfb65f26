"""Going on where a run stopped: from which checkpoint, and whether it is still the same run."""

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout

from alignkit import checkpoints
from alignkit.lookup import own_file
from alignkit.objectives import GroupObjective
from alignkit.recipe.load import load
from alignkit.recipe.problems import RecipeError
from alignkit.recipe.provenance import dotted_paths, process_count
from alignkit.recipe.schema import Recipe
from alignkit.redaction import redact

logger = logging.getLogger(__name__)

EARLIER = "_earlier"
LOCK = ".lock"

# What a run may change and still be the same experiment.
FREE = ("report", "summary", "train.output_dir", "train.save_total_limit", "train.push_to_hub", "train.hub_")


def starting_point(output: Path, resume: str, adopt: bool = False) -> Path | None:
    """The checkpoint to go on from; None starts from the beginning.

    Args:
        output: folder of the run.
        resume: "auto" takes the newest whole checkpoint, and starts from the beginning where there is none; "never"
            starts from the beginning; anything else is the path of a checkpoint.
        adopt: sign it with this user's key, on the user's word that it is their own.

    Raises:
        ValueError: the named checkpoint is not there or is damaged, or the one that was found is not this user's own,
            or holds weights alone.
    """
    if resume == "never":
        return None
    if is_first_process():
        checkpoints.recover(output)
    found = checkpoints.newest_whole(output, logger.warning) if resume == "auto" else _named(resume)
    if found is not None and adopt and is_first_process():
        checkpoints.sign(found)
    if found is not None and (is_first_process() or not adopt):
        checkpoints.refuse_stranger(found)
    if found is not None and checkpoints.holds_weights_alone(found):
        raise ValueError(
            f"{found} holds weights alone, since train.save_only_model was true: no run goes on from it as if nothing "
            f"had happened. Name another with --resume, or start from its weights: model.path={found} --resume never"
        )
    return found


def agreed(checkpoint: Path | None) -> Path | None:
    """What the first process starts from, for all, once they are joined.

    It may find a checkpoint that was whole but not yet renamed, for which others that look earlier take the one before.
    """
    found: list[Path | None] = broadcast_object_list([checkpoint])
    return found[0]


def _named(resume: str) -> Path:
    named = Path(resume)
    if not named.is_dir():
        raise ValueError(f"--resume {resume}: there is no such folder; write auto, never, or the path of a checkpoint")
    if (wrong := checkpoints.damage(named)) is not None:
        raise ValueError(f"--resume {resume}: {wrong}; write --resume auto to take the newest whole checkpoint")
    return named


def refuse_changes(recipe: Recipe, fingerprints: Mapping[str, str], checkpoint: Path) -> None:
    """Refuse to go on as another experiment than the one that saved the checkpoint.

    Raises:
        ValueError: recipe or data differ; the message shows where.
    """
    try:
        before = load(checkpoint / "recipe.yaml", code=recipe.base.absolute()).resolved()
    except RecipeError as error:  # its data or its model are gone
        raise ValueError(f"the recipe of {checkpoint} is not valid any more; --force goes on:\n{error}") from None
    lines = differences(redact(before), redact(recipe.resolved()))
    provenance = json.loads((checkpoint / "provenance.json").read_text(encoding="utf-8"))
    lines += _other_processes(recipe, provenance["world_size"])
    saved = provenance["datasets"]
    lines += [f"the code of {path} changed" for path in dotted_paths(recipe) if _changed(path, recipe, checkpoint)]
    lines += [f"the data of {name} changed" for name in saved if fingerprints.get(name, saved[name]) != saved[name]]
    if lines:
        shown = "\n  ".join(lines)
        raise ValueError(
            f"{checkpoint} was saved by a run that differs from this one:\n  {shown}\n"
            "Undo the change, write --resume never to start anew, or --force to go on all the same"
        )


def _other_processes(recipe: Recipe, before: int) -> list[str]:
    """Where their number matters: for the batch, and in RL, where each has answers that it still learns from."""
    now = process_count()
    same_batch = recipe.settings.global_batch_size is not None and not isinstance(recipe.objective, GroupObjective)
    return [] if now == before or same_batch else [f"the number of processes: {before} -> {now}"]


def _changed(path: str, recipe: Recipe, checkpoint: Path) -> bool:
    """Whether a file beside the recipe differs from the one that the checkpoint was saved with."""
    files = own_file(path, recipe.base.absolute()), own_file(path, checkpoint)
    now, saved = (None if file is None else file.read_bytes() for file in files)
    return now != saved


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """`key: before -> after` for every key of two resolved recipes that differs and matters."""
    if path.startswith(FREE):
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = dict.fromkeys([*before, *after])
        prefix = f"{path}." if path else ""
        return [line for key in keys for line in differences(before.get(key), after.get(key), f"{prefix}{key}")]
    return [] if before == after else [f"{path}: {_shown(before)} -> {_shown(after)}"]


@contextmanager
def only_run_in(output: Path) -> Iterator[None]:
    """Hold a run's folder, and take it away again if it was made for a run that did not begin.

    The system lets go of it with the process, however that ends.

    Raises:
        ValueError: another process holds it, or what would be written there would be written elsewhere.
    """
    if not is_first_process():
        yield
        return
    if links := [path for path in (output.iterdir() if output.is_dir() else ()) if path.is_symlink()]:
        raise ValueError(f"{links[0]} is a link, through which a run would write outside of its folder; remove it")
    missing = [folder for folder in (output, *output.parents) if not folder.exists()]
    output.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(output / LOCK), output / f"{LOCK}.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        held = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        who = f"process {held.get('process', '?')} on {held.get('host', '?')}"
        raise ValueError(f"{who} is training in {output}; wait for it, or write another train.output_dir") from None
    try:
        note.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}) + "\n", encoding="utf-8")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()
        if missing and {path.name for path in output.iterdir()} <= {LOCK}:
            (output / LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # others write beside it
                for folder in missing:
                    folder.rmdir()


def set_earlier_aside(output: Path, start: Path | None) -> None:
    """Move what would be taken for checkpoints of the run that begins to OUTPUT/_earlier.

    All of an earlier run where this one starts anew; those of later steps where it goes back to `start`.
    """
    earlier = checkpoints.found(output)
    if start is not None and start.resolve().parent == output.resolve():
        earlier = [one for one in earlier if checkpoints.step_of(one) > checkpoints.step_of(start)]
    if earlier and is_first_process():
        place = checkpoints.set_aside(earlier, output / EARLIER)
        logger.warning("%d checkpoints of an earlier run are now in %s", len(earlier), place)


def is_first_process() -> bool:
    """Whether this process is the only one, or the one that speaks for all; known before any of them is joined."""
    return os.environ.get("RANK", "0") == "0"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."

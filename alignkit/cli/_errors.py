"""How the commands end: one message without a traceback where a user can mend it, and an exit code that says which.

| code | meaning                                                       |
|------|---------------------------------------------------------------|
| 0    | done                                                          |
| 2    | the recipe or the data cannot be used                         |
| 3    | training diverged: a loss or gradient that is no number       |
| 4    | no room: disk or memory                                       |
| 5    | an evaluation is incomplete                                   |
| 75   | interrupted and saved: the same command with --resume auto    |

75 is also the end of a run whose reward or judge is away for too long.
"""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alignkit.causes import causes
from alignkit.redaction import redact_text

RECIPE_OR_DATA = 2
DIVERGED = 3
NO_ROOM = 4
RESUMABLE = 75

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOTDIR}
_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED")
_TRAINING = (
    "halve train.per_device_train_batch_size (train.global_batch_size keeps the experiment the same), write "
    "train.gradient_checkpointing: true, or shorten train.max_length"
)
ANYTHING = "fewer texts at a time, shorter ones, or a smaller model"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a ValueError raised while a recipe is read and built into a message and exit code 2.

    Everything that alignkit refuses on purpose is a ValueError whose text says what to write instead. The training
    loop stays outside: what fails there is a defect, and its traceback is wanted.
    """
    try:
        yield
    except ValueError as error:
        from alignkit.recipe.problems import RecipeError  # here, since --help and completion should not wait for torch

        if isinstance(error, RecipeError):
            print(redact_text(error.report()), file=sys.stderr)
            count = len(error.problems)
            print(f"{count} problem{'s' if count != 1 else ''}. Nothing was started.", file=sys.stderr)
        else:
            print(f"error: {redact_text(str(error))}", file=sys.stderr)
        sys.exit(RECIPE_OR_DATA)


@contextmanager
def run_errors() -> Iterator[None]:
    """Turn what can stop a run from outside, or by its own numbers, into a message and an exit code.

    Everything else is a defect, and keeps its traceback.
    """
    try:
        with room_errors(_TRAINING):
            yield
    except KeyboardInterrupt as stop:
        from alignkit.recipe.resume import is_first_process
        from alignkit.trainers import Interrupted

        if not isinstance(stop, Interrupted):
            raise
        if is_first_process():
            print(stop, file=sys.stderr)
        sys.exit(RESUMABLE)
    except Exception as error:
        from alignkit.trainers import Diverged
        from alignkit.trainers._together import is_resumable

        if isinstance(error, Diverged):
            _end(str(error), DIVERGED)
        if is_resumable(error):
            _end(" ".join([f"{error};", *getattr(error, "__notes__", ["--resume auto goes on"])]), RESUMABLE)
        raise


@contextmanager
def room_errors(memory: str) -> Iterator[None]:
    """Turn a disk or a memory that is too small into a message and exit code 4, in any command.

    `memory` says what to change. A library that was not loaded raised nothing, so none is loaded here.
    """
    try:
        yield
    except Exception as error:
        trainers = sys.modules.get("alignkit.trainers")
        if trainers is not None and isinstance(error, trainers.NotSaved):
            _end(str(error), NO_ROOM)
        full = next((found for found in map(_disk_error, causes(error)) if found is not None), None)
        if full is not None:
            where = full.filename or "a file that was written"
            _end(f"{where}: {full.strerror}; make room or write elsewhere (a run: train.output_dir)", NO_ROOM)
        if any(map(_is_memory, causes(error))):
            _end(f"out of memory: {' '.join(str(error).split())[:200]}. What to change: {memory}", NO_ROOM)
        raise


def _disk_error(error: BaseException) -> OSError | None:
    """The error as one of a disk, if it is; safetensors writes the system's number into the text of its own."""
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    if found is not None:
        number = int(found[1])
        error = OSError(number, os.strerror(number))
    return error if isinstance(error, OSError) and error.errno in _DISK else None


def _is_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    on_device = torch is not None and isinstance(error, torch.OutOfMemoryError)
    said = isinstance(error, RuntimeError) and _MEMORY.search(str(error)) is not None  # by CUDA, cuBLAS, CPU allocator
    return on_device or isinstance(error, MemoryError) or said


def _end(message: str, code: int) -> None:
    print(f"error: {redact_text(message)}", file=sys.stderr)
    sys.exit(code)

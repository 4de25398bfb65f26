"""How rows are tokenized before training: once for all runs and ranks, on the cores that are there.

`datasets` finds tokens again by a key of the rows, the tokenizer, and the function with all that the function holds.
TRL's functions hold its whole configuration, with the folder, the device and the rank of a run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from accelerate import PartialState
from datasets import Dataset

READ = (  # TRL's options that say what becomes of a row
    "max_length",
    "truncation_mode",
    "dataset_text_field",
    "assistant_only_loss",
    "packing_strategy",
    "shuffle_dataset",
)
WORTH_A_PROCESS = 2000  # rows; for fewer the time that a process takes to start is felt
MOST = 8  # processes, since a container may be allowed less time than it sees cores


def options(args: Any, dataset: Any) -> SimpleNamespace:
    """What TRL's `_prepare_dataset` reads of its configuration, and nothing else that its cache's key would follow."""
    read = {name: getattr(args, name) for name in READ if hasattr(args, name)}
    seed = args.seed if read.get("shuffle_dataset") else None
    return SimpleNamespace(**read, seed=seed, dataset_num_proc=processes(args, dataset))


def prompt_lengths(dataset: Dataset, tokenize: Callable[[list[Any]], Any]) -> Sequence[int]:
    """Tokens of each prompt, (N,); `tokenize` gives the tokens of several first."""
    with PartialState().local_main_process_first():
        measured = dataset.select_columns(["prompt"]).map(
            partial(_lengths, tokenize=tokenize), batched=True, remove_columns=["prompt"], **in_parallel(None, dataset)
        )
    return measured["length"][:]


def _lengths(rows: Mapping[str, list[Any]], tokenize: Callable[[list[Any]], Any]) -> dict[str, list[int]]:
    return {"length": [len(ids) for ids in tokenize(rows["prompt"])[0]]}


def in_parallel(args: Any, dataset: Any) -> dict[str, int | None]:
    """Argument of `dataset.map` that says by how many processes; a stream's takes none."""
    return {"num_proc": processes(args, dataset)} if isinstance(dataset, Dataset) else {}


def processes(args: Any, dataset: Any) -> int | None:
    """Processes that tokenize a dataset: those of `dataset_num_proc`, or else what its rows are worth.

    None is this process, 1 is another one. One rank of a machine tokenizes while the others wait for the file, so all
    cores are its own.
    """
    written = getattr(args, "dataset_num_proc", None)  # no option of GRPOConfig
    if written is not None or not isinstance(dataset, Dataset):
        return written
    number = min(cores(), MOST, len(dataset) // WORTH_A_PROCESS)
    return number if number > 1 else None


def cores() -> int:
    """Those this process may use, where the system says; macOS knows only those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

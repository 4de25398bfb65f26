"""Finding what a source names: files, folders, saved Arrow data, Hub datasets and tasks, as rows with their places."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict, IterableDataset

from alignkit.data import images
from alignkit.data.errors import BadRow, DataError
from alignkit.data.files import READERS, Rows, read_file, short
from alignkit.data.ratings import Ratings
from alignkit.data.spec import REASONING_GYM, Source
from alignkit.data.tasks import Tasks

SPLIT_NAMES = ("train", "test", "validation", "valid", "val", "dev", "eval")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A source that was found: its rows can be iterated any number of times, in any process."""

    label: str  # as the recipe names it, with the split where there are several
    fingerprint: str  # sha256 of local contents, or what `datasets` calls this version of a Hub dataset
    files: tuple[tuple[str, Path], ...] = ()  # (label, path)
    dataset: Dataset | IterableDataset | None = None
    split: str = "train"
    limit: int | None = None
    images: tuple[str, ...] = images.NAMES  # columns that may hold paths of images
    ratings: Ratings | None = None
    tasks: Tasks | None = None

    def rows(self) -> Rows:
        """(place, row) for every row, where a row that cannot be read is a BadRow. Raises DataError."""
        rows = self._all_rows() if self.ratings is None else self.ratings.joined(self._all_rows())
        return islice(rows, self.limit)

    def _all_rows(self) -> Rows:
        if self.tasks is not None:
            yield from self.tasks.rows()
        for label, path in self.files:
            for place, row in read_file(path, label, self.split):
                yield place, row if isinstance(row, BadRow) else images.absolute(row, path.parent, self.images)
        if self.dataset is not None:
            for number, row in enumerate(self._dataset_rows(self.dataset), start=1):
                yield f"{self.label} row {number}", row

    def _dataset_rows(self, dataset: Dataset | IterableDataset) -> Iterator[dict[str, Any]]:
        try:
            yield from dataset
        except Exception as error:  # decoding and, when streaming, the network: datasets has no common exception
            raise DataError(f"{self.label} cannot be read to its end: {short(error)}") from error


def open_source(source: Source, base: Path, *, streaming: bool = False) -> Opened:
    """Find a source, and its ratings. Local paths are relative to `base` and win over Hub ids. Raises DataError."""
    opened = open_rows(source, base, streaming=streaming)
    if source.ratings is None or source.ratings_by is None:
        return opened
    path = base / Path(source.ratings).expanduser()
    if not path.is_file():
        raise DataError(missing_file(source.ratings, base))
    ratings = Ratings.read(path, source.ratings, source.ratings_by)
    both = f"{opened.fingerprint} {source.ratings_by} {digest_of([path])}"
    return replace(opened, ratings=ratings, fingerprint=hashlib.sha256(both.encode()).hexdigest())


def open_rows(source: Source, base: Path, *, streaming: bool = False) -> Opened:
    """Find a source without its ratings."""
    if source.source == REASONING_GYM:
        tasks = Tasks.of(source)
        return Opened(label=tasks.label, fingerprint=tasks.fingerprint, tasks=tasks)
    path = located(source, base)
    if path is None:
        return open_hub(source, base, streaming=streaming)
    for name in ("name", "revision"):
        if getattr(source, name) is not None:
            raise DataError(f"{source.source} is a local path; {name} is for datasets on the Hub, remove it")
    if path.is_dir() and ((path / "state.json").exists() or (path / "dataset_dict.json").exists()):
        return open_saved(source, path)
    if path.is_dir():
        folder = source.source.rstrip("/")
        files = tuple((f"{folder}/{file.relative_to(path)}", file) for file in chosen(source, path))
        split = "train"  # the files are this split already
    else:
        files, split = ((source.source, path),), source.split
        if split != "train" and path.suffix != ".json":
            raise DataError(f"{source.source} is one file and has no split {split!r}; remove split")
    digest = digest_of([file for _, file in files])
    names = tuple(source.columns.get(name, name) for name in images.NAMES)
    return Opened(label=source.source, fingerprint=digest, files=files, split=split, limit=source.limit, images=names)


def located(source: Source, base: Path) -> Path | None:
    try:
        path = base / Path(source.source).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError) as error:  # too long a name, no permission, no such user's home
        raise DataError(f"{source.source} is no path that can be read: {error}") from error


def chosen(source: Source, folder: Path) -> list[Path]:
    """The data files of a folder that belong to the split: by the names of files or subfolders, or all of them."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in READERS and not skipped(file, folder))
    if not files:
        raise DataError(f"{source.source} holds no data files; put {', '.join(READERS)} files there")
    splits = {file: split_of(file.relative_to(folder)) for file in files}
    kinds = sorted({file.suffix for file in files if splits[file] in (source.split, None)})
    if len(kinds) > 1:
        raise DataError(f"{source.source} holds {' and '.join(kinds)} files; name one file, or keep one kind")
    if source.split == "train" and not any(splits.values()):
        return files
    files = [file for file in files if splits[file] == source.split]
    if not files:
        found = ", ".join(sorted({split for split in splits.values() if split})) or "none"
        raise DataError(f"{source.source} has no split {source.split!r}; splits named by its files: {found}")
    return files


def skipped(file: Path, folder: Path) -> bool:
    """Hidden files, and the descriptions that datasets puts beside data."""
    parts = file.relative_to(folder).parts
    return any(part.startswith(".") for part in parts) or file.name in ("dataset_info.json", "dataset_infos.json")


def split_of(file: Path) -> str | None:
    """The split that a path inside a folder names: train/0.jsonl, train.jsonl, train_prefs-00000-of-00001.parquet."""
    for part in file.parts:
        stem = re.sub(r"-\d+-of-\d+$", "", part.removesuffix(file.suffix))
        if re.split(r"[^A-Za-z]", stem)[0] in SPLIT_NAMES:
            return stem
    return None


def open_saved(source: Source, path: Path) -> Opened:
    """A folder written by `save_to_disk`."""
    try:
        dataset = datasets.load_from_disk(str(path))
    except Exception as error:  # a damaged folder fails in as many ways as it has files
        raise DataError(f"{source.source} is a damaged Arrow folder: {short(error)}") from error
    label = source.source
    if isinstance(dataset, DatasetDict):
        if source.split not in dataset:
            raise DataError(f"{label} has no split {source.split!r}; it has {', '.join(dataset)}")
        dataset, path, label = dataset[source.split], path / source.split, f"{label}[{source.split}]"
    elif source.split != "train":
        raise DataError(f"{label} was saved without splits and has no {source.split!r}; remove split")
    digest = digest_of(sorted(path.glob("*.arrow")))
    rows = images.undecoded(dataset.with_format(None))
    return Opened(label=label, fingerprint=digest, dataset=rows, limit=source.limit)


def open_hub(source: Source, base: Path, *, streaming: bool) -> Opened:
    """A dataset on the Hub, through `datasets`; what only looks like a missing file is reported as one."""
    if Path(source.source).suffix in READERS or not HUB_ID.fullmatch(source.source):
        raise DataError(missing_file(source.source, base))
    label = f"{source.source}[{f'{source.name}, ' if source.name else ''}{source.split}]"
    try:
        dataset = datasets.load_dataset(
            source.source, source.name, split=source.split, revision=source.revision, streaming=streaming
        )
    except Exception as error:  # unknown id, split or configuration, no network, ...: a dozen unrelated classes
        raise DataError(
            f"{label}: there is no such path in {base}, and the Hub's dataset cannot be read: {short(error)}"
        ) from error
    # datasets offers no public name for the version it loaded; its fingerprint follows the commit and the files
    version = f"revision {source.revision or 'main'}" if streaming else dataset._fingerprint
    rows = images.undecoded(dataset.with_format(None))
    return Opened(label=label, fingerprint=version, dataset=rows, limit=source.limit)


def missing_file(name: str, base: Path) -> str:
    path = base / name
    beside = sorted(file.name for file in path.parent.iterdir()) if path.parent.is_dir() else []
    near = get_close_matches(path.name, beside, n=1)
    if near:
        return f"no file {name} in {base}; did you mean {Path(name).with_name(near[0])}?"
    return f"no file {name} in {base}; paths are relative to the recipe's folder"


def digest_of(files: list[Path]) -> str:
    """sha256 of the contents, in order; several files are hashed as the list of their digests."""
    digests = []
    for path in files:
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

"""Reading the file in which wandb keeps an offline run."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_HEADER, CHUNK_HEADER, BLOCK = 7, 7, 32768  # bytes
FULL, LAST = 1, 4  # kinds of chunks that end a record


def records(file: Path) -> Iterator[Any]:
    """wandb's protobuf records; the file is a log of LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    at, whole = FILE_HEADER, b""
    while at + CHUNK_HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < CHUNK_HEADER:  # too few bytes for another chunk in this block
            at += left
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + CHUNK_HEADER])  # after four bytes of checksum
        at += CHUNK_HEADER
        whole += content[at : at + size]
        at += size
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def read_run(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and summary of an offline run."""
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for record in records(file):
        for found, items in ((config, record.config.update), (summary, record.summary.update)):
            found.update({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return config, summary

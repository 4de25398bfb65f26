"""Log-probs of answers by a frozen model, kept on disk by content: no run and no method computes one twice.

A log-prob belongs to the tokens of a text and to which of them are scored, so it makes no difference in which row of
which dataset they lie, and a template is known by the tokens it gives. What else it depends on names the folder: the
weights themselves, the configuration, the precision, the kernel, the versions. Nothing rests on a name or a date.
"""

import hashlib
import json
import logging
import math
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
import transformers
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

import alignkit
from alignkit.models.fused_head import core_of, unwrapped
from alignkit.models.run_attention import kernel_of

logger = logging.getLogger(__name__)

RECORD = struct.Struct("<16sf")  # key of a text, its log-prob in nats; a checksum follows
CHECKSUM = struct.Struct("<I")
SIZE = RECORD.size + CHECKSUM.size  # bytes
WITHOUT_EFFECT = ("_name_or_path", "use_cache")  # what a configuration says that changes no log-prob
REFERENCE = "ref"  # what TRL calls the frozen copy of an adapter that is trained further
Logps = dict[bytes, float]  # by the keys of their texts
Exchanged = Callable[[Logps], Sequence[Logps]]


class LogpCache:
    """Log-probs of texts in a folder. Each process appends to a file of its own, so that none waits for another.

    A record that is cut off or damaged is passed over, and computed again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = {key: value for file in sorted(folder.glob("*.logps")) for key, value in _records(file)}
        self._own = folder / f"{uuid.uuid4().hex}.logps"
        self._warned = False

    def find(self, keys: Sequence[bytes]) -> list[float] | None:
        """Log-probs of the texts, None if one is missing."""
        found = [self.known[key] for key in keys if key in self.known]
        return found if len(found) == len(keys) else None

    def settle(
        self, keys: Sequence[bytes], logps: Sequence[float], exchanged: Exchanged = lambda own: [own]
    ) -> list[float]:
        """Keep what is new, and give for each text what was kept first.

        `exchanged` gives what is new on all processes, given what is on this one, in the same order everywhere: so all
        keep the same, and none computes what another did.
        """
        new = {key: logp for key, logp in zip(keys, logps, strict=True) if key not in self.known}
        for found in exchanged(new):
            for key, logp in found.items():
                self.known.setdefault(key, logp)
        if new:
            # what a reference spoilt is not kept for other runs
            self._append(b"".join(_record(key, self.known[key]) for key in new if math.isfinite(self.known[key])))
        return [self.known[key] for key in keys]

    def _append(self, records: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._own.open("ab") as file:
                file.write(records)
        except OSError as error:  # no reason to end a training
            if not self._warned:
                logger.warning("reference log-probs are not kept for the next run: %s: %s", self.folder, error.strerror)
            self._warned = True


def fingerprint_of(model: nn.Module, facts: Mapping[str, str]) -> str:
    """What a model says with its adapters switched off, or with the frozen copy of one, depends on nothing else.

    Args:
        model: a causal language model, perhaps wrapped. Of weights that are sharded this process reads its own.
        facts: what else the log-probs depend on.
    """
    core: Any = core_of(model)
    config = {name: value for name, value in core.config.to_dict().items() if name not in WITHOUT_EFFECT}
    versions = {"alignkit": alignkit.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    described = {**facts, **versions, "kernel": kernel_of(core), "config": config}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for name, tensor in sorted(_frozen(model, core)):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def keys_of(input_ids: Tensor, attention_mask: Tensor, scored: Tensor) -> list[bytes]:
    """A key for each row, which padding does not change; all (N, T)."""
    rows = zip(*(table.numpy(force=True) for table in (input_ids, attention_mask.bool(), scored)), strict=True)
    return [_key(ids[real].astype("<i4").tobytes(), own[real].tobytes()) for ids, real, own in rows]


def _key(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _frozen(model: nn.Module, core: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name and content of what the reference is made of; the same names with and without adapters."""
    trained = [name for name in getattr(unwrapped(model), "peft_config", {}) if name != REFERENCE]
    for name, tensor in (*core.named_parameters(), *core.named_buffers()):
        if not any(f".{adapter}." in f"{name}." for adapter in trained):
            plain = name.replace(".base_layer.", ".").replace(".original_module.", ".")
            local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
            yield plain, getattr(local, "ds_tensor", local)  # ZeRO-3 leaves an empty tensor, and its shard beside it


def _record(key: bytes, logp: float) -> bytes:
    content = RECORD.pack(key, logp)
    return content + CHECKSUM.pack(crc32(content))


def _records(file: Path) -> Iterator[tuple[bytes, float]]:
    data = file.read_bytes()
    for start in range(0, len(data) - SIZE + 1, SIZE):
        content = data[start : start + RECORD.size]
        if CHECKSUM.unpack_from(data, start + RECORD.size) == (crc32(content),):
            yield RECORD.unpack(content)

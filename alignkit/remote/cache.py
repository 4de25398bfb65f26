"""Replies on disk, so that nothing is paid for twice."""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cache:
    """A folder with a file for each request, named by the SHA-256 of all that was sent and where.

    A file appears under its name only when it is complete, so that a process may be killed at any time; one that
    cannot be read counts as absent. Two threads with the same request ask once.
    """

    folder: Path
    _asking: dict[str, threading.Lock] = field(default_factory=dict, repr=False, compare=False)

    def get(self, request: Mapping[str, Any]) -> Any:
        """The reply that is kept, or None."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return json.loads(self._file(key_of(request)).read_text(encoding="utf-8"))["reply"]
        return None

    def fetch(self, request: Mapping[str, Any], ask: Callable[[], Any]) -> tuple[Any, bool]:
        """The reply to a request, and whether it was there already; what `ask` raises is not kept."""
        key = key_of(request)
        with self._asking.setdefault(key, threading.Lock()):
            if (kept := self.get(request)) is not None:
                return kept, True
            reply = ask()
            self.put(request, reply)
            return reply, False

    def put(self, request: Mapping[str, Any], reply: Any) -> None:
        """Keep a reply, with its request beside it for people."""
        file = self._file(key_of(request))
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".partial")
        with os.fdopen(handle, "w", encoding="utf-8") as partial:
            json.dump({"request": dict(request), "reply": reply}, partial, ensure_ascii=False)
        Path(name).replace(file)

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def key_of(request: Mapping[str, Any]) -> str:
    """SHA-256 of a request, in hexadecimal; the order of its keys does not matter."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

"""Verifying what a model wrote in a process of its own: with a time limit that holds, and without our secrets.

Symbolic mathematics may take for ever on a short text, such as 9^{9^{9^9}}, inside C code that no signal and no thread
interrupts. A process can be killed.
"""

import atexit
import json
import logging
import os
import subprocess
import sys
import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alignkit.rewards._reward import shown

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("_verifier.py")
PASSED_ON = ("PATH", "PYTHONPATH", "HOME", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")  # no tokens and keys
STARTS_WITHIN = 120.0  # seconds for the libraries' imports


class Unverified(Exception):
    """The verifier has no verdict on an answer: it failed, or took too long."""


class Verifier:
    """A function of `_verifier.py`, called in its process, which starts when it is needed. Safe among threads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def __call__(self, seconds: float, **request: Any) -> float:
        """The score.

        Raises:
            Unverified: no verdict within `seconds`, or the function failed; the message says why.
            ValueError: what the data expect cannot be used.
        """
        with self._lock:
            process = self._process or self._started()
            assert process.stdin is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = self._line(process, seconds)
        if not line:
            raise Unverified(f"took longer than {seconds:g} s, or more memory than there is")
        reply = json.loads(line)
        if "bad_data" in reply:
            raise ValueError(reply["bad_data"])
        if "unverified" in reply:
            raise Unverified(reply["unverified"])
        return reply["score"]

    def close(self) -> None:
        """End the process; the next call starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _started(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        )
        if self._line(self._process, STARTS_WITHIN).strip() != "ready":
            raise RuntimeError(f"the verifier {self.name} did not start; is {self.name} installed whole?")
        return self._process

    def _line(self, process: subprocess.Popen[str], seconds: float) -> str:
        """What the process answers; nothing if it had to be killed or died, and then it is gone."""
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            self.close()
        return line


def verified(rule: str, answer: str, seconds: float, **request: Any) -> float:
    """The score of an answer; 0, with a warning, if there is no verdict on it. ValueError as a Verifier."""
    try:
        return verifier(rule)(seconds, answer=answer, **request)
    except Unverified as error:
        logger.warning("%s counts an answer as wrong: %s: %s", rule, error, shown(answer))
        return 0.0


@cache
def verifier(name: str) -> Verifier:
    """The one verifier of that name in this process. ValueError if its library is not installed."""
    if find_spec(name) is None:
        raise ValueError(f"the rule {name} needs its library; pip install 'alignkit[rl]'")
    return Verifier(name)

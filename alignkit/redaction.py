"""Secrets are left out of everything that alignkit writes or prints: recipes, commands, logs, tracebacks.

A secret is the value of a key or an environment variable that is named like one, or text that has the form of one.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

REDACTED = "[redacted]"
SHORTEST = 8  # characters of an environment variable that is looked for in texts; shorter ones are in too many words

_SECRET_NAME = re.compile(r"(^|[_-])(token|(api|access|secret|private)[_-]?key|password|passwd|secret)$", re.I)
_NO_SECRET = re.compile(r"(eos|bos|pad|unk|sep|cls|mask|image|stop|special)_token$", re.I)  # tokens of a vocabulary
_SECRET_TEXT = re.compile(r"\b(hf_|sk-|ghp_|github_pat_|glpat-|xox[abp]-)[A-Za-z0-9_-]{16,}|\bAKIA[0-9A-Z]{16}\b")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"([?&][\w-]*(?:token|key|password|secret|signature)=)[^&\s'\"]+", re.I)
_BEARER = re.compile(r"(bearer\s+)[\w.~+/-]{16,}=*", re.I)
_ASSIGNED = re.compile(r"[\"']?([\w-]+)[\"']?\s*[:=]\s*[^\s,}]")


def redact(value: Any, name: str = "") -> Any:
    """A copy without secrets: values of keys named like secrets, and texts that have the form of one."""
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, name) for item in value]
    if value is not None and not isinstance(value, bool) and is_secret_name(name):
        return REDACTED
    return redact_text(value) if isinstance(value, str) else value


def redact_command(arguments: Sequence[str]) -> list[str]:
    """A command line without secrets: `key=value` and `--key value` whose key is named like one."""
    shown, hide_next = [], False
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = key.lstrip("-").split(".")[-1]
        if hide_next:
            shown.append(REDACTED)
            hide_next = False
        elif equals:
            shown.append(f"{key}={REDACTED if is_secret_name(name) else redact_text(value)}")
        else:
            hide_next = key.startswith("--") and is_secret_name(name)
            shown.append(redact_text(argument))
    return shown


def redact_text(text: str) -> str:
    """A text without secrets: those of the environment, and what has the form of one."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and is_secret_name(name):
            text = text.replace(value, REDACTED)
    text = _CREDENTIALS.sub(f"{REDACTED}@", _SECRET_TEXT.sub(REDACTED, text))
    return _BEARER.sub(rf"\1{REDACTED}", _QUERY.sub(rf"\1{REDACTED}", text))


def assigns_secret(line: str) -> bool:
    """Whether a line gives a value to a key that is named like a secret, or holds one."""
    return any(is_secret_name(match[1]) for match in _ASSIGNED.finditer(line)) or redact_text(line) != line


def is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.search(name)


def redact_everywhere() -> None:
    """Keep secrets out of all that is logged in this process, by whichever library, and out of its last traceback."""
    if not isinstance(logging.getLogRecordFactory(), _Factory):
        logging.setLogRecordFactory(_Factory(logging.getLogRecordFactory()))
        sys.excepthook = _print_redacted


class _Factory:
    """Makes records of another factory, without secrets."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.made(*args, **kwargs)
        try:
            said = record.getMessage()
        except Exception:  # an argument that does not fit its format: logging will say so
            return record
        if (clean := redact_text(said)) != said:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact_text("".join(traceback.format_exception(*record.exc_info))).rstrip("\n")
        return record


def _print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redact_text("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)

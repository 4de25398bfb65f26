"""Where requests go, and how fast."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # what servers without keys are told


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server that speaks OpenAI's protocol, or takes JSON, and what may be asked of it.

    The key is read from an environment variable when the client is made, and is nowhere in this object.
    """

    url: str = OPENAI  # to which /chat/completions is added
    key_variable: str | None = None  # environment variable that holds the key; for OpenAI itself OPENAI_API_KEY
    timeout: float = 120.0  # seconds, of one try
    tries: int = 6  # of one request
    backoff: float = 1.0  # seconds before the second try; twice as long before each further one
    longest_wait: float = 120.0  # seconds between two tries; a server that asks for more is given up
    concurrency: int = 8  # requests at a time
    requests_per_minute: float | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.username or parts.password or parts.query:
            where = f"{parts.scheme}://{parts.hostname}{parts.path}"
            raise ValueError(f"the url of {where} holds more than a place; a key belongs in an environment variable")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url = {self.url!r} is no http:// or https:// address; write http://localhost:8000/v1")
        for name in ("timeout", "tries", "backoff", "longest_wait", "concurrency"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive")
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise ValueError(f"requests_per_minute = {self.requests_per_minute} must be positive; null sets no limit")

    def key(self) -> str:
        """The key, from the environment.

        Raises:
            ValueError: the variable is empty, or holds what cannot be sent. The message never holds the key.
        """
        variable = self.key_variable or ("OPENAI_API_KEY" if self.url.rstrip("/") == OPENAI else None)
        if variable is None:
            return NO_KEY
        key = os.environ.get(variable, "").strip()
        if not key:
            raise ValueError(f"{self.url} needs a key; put it into the environment variable {variable}")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"the environment variable {variable} holds characters that are in no key")
        return key

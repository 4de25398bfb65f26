"""One HTTP client for judges and remote rewards: limits, retries, a cache on disk, typed errors.

endpoint = Endpoint(url="http://localhost:8000/v1")
with Client(endpoint, cache=Cache(Path("cache"))) as client:
    client.chat("judge", [{"role": "user", "content": "2 + 2?"}], temperature=0).text
    for question, answer in client.each(ask, questions):     # as they come; an answer may be a RemoteError
        ...
"""

from alignkit.remote.cache import Cache
from alignkit.remote.client import Client, Reply
from alignkit.remote.endpoint import OPENAI, Endpoint
from alignkit.remote.errors import BadReply, Refused, Rejected, RemoteError, Unavailable

__all__ = [
    "OPENAI",
    "BadReply",
    "Cache",
    "Client",
    "Endpoint",
    "Refused",
    "Rejected",
    "RemoteError",
    "Reply",
    "Unavailable",
]

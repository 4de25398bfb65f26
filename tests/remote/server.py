"""A server on loopback that answers, or misbehaves, as a test says."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP reply."""

    body: Any = None  # bytes as they are, anything else as JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # what Content-Length claims, if not the truth


@dataclass(frozen=True)
class Hang:
    """Accept and say nothing until the server is closed."""


@dataclass(frozen=True)
class Cut:
    """Reset the connection without a reply."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that came."""

    path: str
    body: Any
    headers: dict[str, str]  # names in small letters


Action = Answer | Hang | Cut
Script = Callable[[Asked], Action]


def said(text: str | None, **fields: Any) -> Answer:
    """A chat completion with this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return Answer(body={"object": "chat.completion", "choices": [choice], "usage": usage, **fields})


def failed(status: int, message: str = "no", **headers: str) -> Answer:
    """An error in OpenAI's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body={"error": {"message": message}}, status=status, headers=named)


NO_CHOICES = Answer(body={"object": "chat.completion", "choices": []})
NO_TEXT = said(None)
HALF_OF_THE_JSON = Answer(body=b'{"choices": [{"mess', headers={"Content-Type": "application/json"})
HALF_OF_THE_REPLY = Answer(body={"choices": []}, length=1000)


def in_turn(*actions: Action, then: Action) -> Script:
    """These answers, one for each request, and `then` for all that follow."""
    left, lock = list(actions), threading.Lock()

    def script(asked: Asked) -> Action:
        with lock:
            return left.pop(0) if left else then

    return script


class Server:
    """Serves until the `with` block ends; `asked` holds what came."""

    def __init__(self, script: Script, models: Iterable[str] = ()) -> None:
        self.script = script
        self.models = [{"id": name, "object": "model"} for name in models]  # what it says it has; none: it says nothing
        self.asked: list[Asked] = []
        self.at_once = self.most_at_once = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def bodies(self) -> Iterable[Any]:
        return [asked.body for asked in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                asked = Asked(
                    path=self.path,
                    body=json.loads(content),
                    headers={name.lower(): value for name, value in self.headers.items()},
                )
                with server._lock:
                    server.asked.append(asked)
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                try:
                    self.act(server.script(asked))
                finally:
                    with server._lock:
                        server.at_once -= 1

            def do_GET(self) -> None:
                listed = Answer(body={"object": "list", "data": server.models})
                self.act(listed if self.path == "/v1/models" and server.models else failed(404))

            def act(self, action: Action) -> None:
                self.close_connection = True
                if isinstance(action, Hang):
                    server.closing.wait()
                elif isinstance(action, Cut):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                else:
                    self.reply(action)

            def reply(self, answer: Answer) -> None:
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Connection": "close",
                    **answer.headers,
                }.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) if answer.length is None else answer.length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

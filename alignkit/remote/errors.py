"""What can go wrong with a request, sorted by what to do about it. Every message names the endpoint and the cause."""


class RemoteError(RuntimeError):
    """A request that got no answer."""

    resumable = True  # what needed the answer can go on when there is one

    def __init__(self, endpoint: str, cause: str) -> None:
        super().__init__(f"{endpoint}: {cause}")
        self.endpoint = endpoint
        self.cause = cause


class Refused(RemoteError):
    """The server will answer nothing: a wrong key, no permission, no money, no such model. Nobody should ask again."""


class Rejected(RemoteError):
    """The server does not take this request; others may pass."""


class Unavailable(RemoteError):
    """No answer in all tries: overload, a server's error, a connection that broke or that nobody answered."""


class BadReply(RemoteError):
    """What came in all tries cannot be read: no JSON, no choices, no text."""

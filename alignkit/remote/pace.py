"""How fast requests may follow each other, for all threads of a client together."""

import threading
import time
from collections.abc import Callable


class Pace:
    """Spaces requests evenly, and holds all of them back when the server asks for a pause."""

    def __init__(
        self,
        per_minute: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = clock()  # when the next request may start
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the caller may send a request."""
        while True:
            with self._lock:
                now = self._clock()
                if now >= self._next:
                    self._next = now + self._gap
                    return
                left = self._next - now
            self._sleep(left)

    def pause(self, seconds: float) -> None:
        """Nobody sends anything for so long."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)

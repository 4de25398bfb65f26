"""The signals that ask a run to stop: launchers hand on what training listens for."""

import signal
import threading
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


def take(handler: Any) -> dict[signal.Signals, Any]:
    """Let `handler` have them, and say who had them before. Python takes handlers from the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in STOP_SIGNALS}


def give_back(before: dict[signal.Signals, Any]) -> None:
    """To whoever had them, as `take` said."""
    for number, handler in before.items():
        signal.signal(number, handler)

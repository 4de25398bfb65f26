"""The signals that ask a run to stop: launchers hand on what training listens for."""

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

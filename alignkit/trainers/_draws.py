"""Which random numbers come next on this process: noted, put back, and kept apart from training's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def noted() -> tuple[Any, ...]:
    """Where the generators of Python, NumPy, torch and its devices are."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), devices


def put_back(states: tuple[Any, ...]) -> None:
    """Put the generators where `noted` found them."""
    python, numpy, cpu, devices = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if devices:
        torch.cuda.set_rng_state_all(devices)


@contextmanager
def apart() -> Iterator[None]:
    """What is drawn within does not change what is drawn after it."""
    states = noted()
    try:
        yield
    finally:
        put_back(states)

"""Bytes of the tensors that are alive, over time: what a forward and backward pass needs at its peak."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Notes every storage that an operation makes, and when it is gone.

    Works on fake tensors, which have sizes and no content: a model of any size is looked at in seconds, in no memory.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """`known` are tensors that were there before, such as weights, and do not count."""
        super().__init__()
        self._events: list[tuple[int, int]] = []  # (storage, bytes) when it is made, (storage, -bytes) when it goes
        self._alive = {_key(tensor): 0 for tensor in known}  # number of each storage; 0 does not count
        self._made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._note(value)
        return out

    def peak(self, without: Iterable[Tensor] = ()) -> int:
        """Largest sum of bytes at any time, leaving out the storages of some tensors that are alive at the end."""
        left_out = {self._alive.get(_key(tensor)) for tensor in without}
        now = peak = 0
        for storage, size in self._events:
            if storage not in left_out:
                now += size
                peak = max(peak, now)
        return peak

    def asked(self, below: int) -> int:
        """Sum of the bytes of all storages that were made, large ones left out."""
        return sum(size for _, size in self._events if 0 < size < below)

    def _note(self, tensor: Tensor) -> None:
        key = _key(tensor)
        if key in self._alive:
            return
        storage = tensor.untyped_storage()
        self._made += 1
        self._alive[key] = self._made
        self._events.append((self._made, storage.nbytes()))
        weakref.finalize(storage, self._gone, key, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._events.append((self._alive.pop(key), -size))


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors that share no storage."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

"""What processes tell each other before a collective in which one would wait for another.

Whether any or all of them would do something; and that a reward function failed on one, so that it fails on all.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import nn
from trl.trainer.utils import is_async_callable

from alignkit.causes import causes


def on_any_rank(accelerator: Any, here: bool) -> bool:
    """Whether it is so on this process or another. All of them ask."""
    flag = torch.tensor(float(here), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum") > 0)


def on_all_ranks(accelerator: Any, here: bool) -> bool:
    """Whether it is so on every process. All of them ask."""
    return not on_any_rank(accelerator, not here)


class FailedTogether(RuntimeError):
    """Raised on all processes alike, where one or more could not do their part; the message names the first."""

    def __init__(self, message: str, resumable: bool) -> None:
        super().__init__(message)
        self.resumable = resumable  # whether the run can go on later: a server was away


class Together:
    """A function that all processes call side by side. FailedTogether on all of them where it fails on any."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found: Any = None
        own: Exception | None = None
        try:
            found = self.function(*args, **kwargs)
        except Exception as error:  # users' functions and servers raise anything
            own = error
        said = None if own is None else (_in_words(own), is_resumable(own))
        everyone: list[tuple[str, bool] | None] = gather_object([said])
        if failures := [(rank, *said) for rank, said in enumerate(everyone) if said is not None]:
            rank, text, resumable = failures[0]
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise FailedTogether(f"process {rank}{more}: {text}", resumable) from own
        return found


def together(functions: Sequence[Any]) -> list[Any]:
    """Each as `Together`, apart from models and coroutines, which TRL calls in ways of its own."""
    return [one if isinstance(one, nn.Module) or is_async_callable(one) else Together(one) for one in functions]


def is_resumable(error: BaseException) -> bool:
    """Whether a run that ended so can go on later: a server that it depends on, of rewards or judgments, was away."""
    return any(getattr(cause, "resumable", False) for cause in causes(error))


def _in_words(error: Exception) -> str:
    """Its text, with the kind where a program raised it: a KeyError says no more than the key."""
    return str(error) if isinstance(error, ValueError | RuntimeError) and str(error) else repr(error)

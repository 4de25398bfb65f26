"""A reward function that fails on one process fails on all of them, before the others wait for its scores."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from accelerate.utils import gather_object
from torch import nn
from trl.trainer.utils import is_async_callable


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
        said = None if own is None else (_in_words(own), any(map(_is_resumable, _chain(own))))
        everyone: list[tuple[str, bool] | None] = gather_object([said])
        if failures := [(rank, *said) for rank, said in enumerate(everyone) if said is not None]:
            rank, text, resumable = failures[0]
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise FailedTogether(f"process {rank}{more}: {text}", resumable) from own
        return found


def together(functions: Sequence[Any]) -> list[Any]:
    """Each as `Together`, apart from models and coroutines, which TRL calls in ways of its own."""
    return [one if isinstance(one, nn.Module) or is_async_callable(one) else Together(one) for one in functions]


def _in_words(error: Exception) -> str:
    """Its text, with the kind where a program raised it: a KeyError says no more than the key."""
    return str(error) if isinstance(error, ValueError | RuntimeError) and str(error) else repr(error)


def _is_resumable(error: BaseException) -> bool:
    return getattr(error, "resumable", False)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__

"""Many requests at a time, each answer as it comes, and an end to it whenever somebody asks to stop."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from alignkit.remote.errors import Refused, RemoteError

T = TypeVar("T")
R = TypeVar("R")

LOOK = 1.0  # seconds


def side_by_side(
    ask: Callable[[T], R],
    items: Iterable[T],
    most: int,
    while_waiting: Callable[[], object],
    stopping: Callable[[], object],
) -> Iterator[tuple[T, R | RemoteError]]:
    """(item, ask(item)) in the order in which they end, `most` at a time; an item that failed comes with its error.

    Refused is raised, when those on their way have ended. So is what `while_waiting` raises, which is called every
    second that no answer comes, and with every one; and Ctrl-C. Neither waits for anything, and `stopping` is called.
    """
    pool = ThreadPoolExecutor(most)
    patient = True
    try:
        futures: dict[Future[R], T] = {pool.submit(ask, item): item for item in items}
        for future in _as_they_end(futures, while_waiting):
            try:
                yield futures[future], future.result()
            except Refused:
                raise
            except RemoteError as error:
                yield futures[future], error
    except (RemoteError, GeneratorExit):
        raise
    except BaseException:
        stopping()
        patient = False
        raise
    finally:
        pool.shutdown(wait=patient, cancel_futures=True)


def _as_they_end(futures: Iterable[Future[R]], while_waiting: Callable[[], object]) -> Iterator[Future[R]]:
    left = set(futures)
    while left:
        done, left = wait(left, timeout=LOOK, return_when=FIRST_COMPLETED)
        while_waiting()
        yield from done

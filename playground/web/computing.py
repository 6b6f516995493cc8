"""Runs the page's model computations (sampling, probes) in one thread with low priority, in the order in which they came.

They share the cores with the runs that train, and at the page's own priority would slow them down. A nice value alone does not
prevent that: Linux outside containers schedules whole sessions (autogroups), so this one thread weighs as much as a worker's two
threads together, each of which waits for the slower. So the thread also sleeps between computations. Knows nothing of models, and
of runs only how many train.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from playground.config.settings import Settings

MAX_WAITING, PATIENCE_S, MAX_STREAMS = 4, 10.0, 16
A_LITTLE_S = 0.05
MOST_REST_S = 1.0
BUSY = "others are looking into models right now; try again in a moment"

T = TypeVar("T")


class Busy(Exception):
    """Too many people want something computed at this moment."""

    code = "busy"


class Computing:
    """The computations of one app, first come, first served; `nice` is the nice value of the thread, `others` tells how many runs
    train."""

    def __init__(
        self, nice: int = Settings.nice, waiting: int = MAX_WAITING, patience_s: float = PATIENCE_S, others: Callable[[], int] = lambda: 0
    ):
        self.patience_s, self.others, self._rested_at = patience_s, others, float("-inf")
        self._thread, self._long = ThreadPoolExecutor(1, "computing", initializer=_settle, initargs=(nice,)), threading.Lock()
        self._places, self._streams = threading.Semaphore(waiting + 1), threading.Semaphore(MAX_STREAMS)

    def run(self, do: Callable[[], T]) -> T:
        """What `do` returns or raises; waits for its turn without a limit."""
        return self._thread.submit(self._fairly, do).result()

    def run_soon(self, do: Callable[[], T]) -> T:
        """As `run`, for a request that occupies a thread of the server while it waits: raises Busy where too many wait already,
        or its turn does not come within `patience_s`."""
        if not self._places.acquire(blocking=False):
            raise Busy(BUSY)
        begun = threading.Event()

        def begin() -> T:
            begun.set()
            return do()

        try:
            coming = self._thread.submit(self._fairly, begin)
            if not begun.wait(self.patience_s) and coming.cancel():
                raise Busy(BUSY)
            return coming.result()
        finally:
            self._places.release()

    def stream(self, items: Iterator[T]) -> Iterator[T]:
        """The items of an iterator, computed in short turns, so that others get theirs in between. Raises Busy where too many
        streams are open, and what the iterator raises."""
        if not self._streams.acquire(blocking=False):
            raise Busy(f"{MAX_STREAMS} models are writing at this moment; try again when one is done")
        try:
            error = None
            while error is None:
                some, error = self.run(lambda: _a_little(items))
                yield from some
            if not isinstance(error, StopIteration):
                raise error
        finally:
            self._streams.release()

    @contextlib.contextmanager
    def at_length(self) -> Iterator[None]:
        """For work that takes many turns in a row, one such at a time. Raises Busy where another is under way."""
        if not self._long.acquire(blocking=False):
            raise Busy(BUSY)
        try:
            yield
        finally:
            self._long.release()

    def _fairly(self, do: Callable[[], T]) -> T:
        """One turn of the thread. Before the next one it sleeps for as long as this one computed, times the number of runs that
        train: so it takes no more of the machine than one of them."""
        time.sleep(max(0.0, self._rested_at - time.monotonic()))
        began = time.thread_time()
        try:
            return do()
        finally:
            rest = (time.thread_time() - began) * self.others()
            self._rested_at = time.monotonic() + min(rest, MOST_REST_S)

    def close(self) -> None:
        """Cancel what still waits for its turn, so that the process can end."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _a_little(items: Iterator[T]) -> tuple[list[T], Exception | None]:
    """The next items, and the exception that ended them, if one did."""
    found, began = [], time.monotonic()
    try:
        while time.monotonic() - began < A_LITTLE_S:
            found.append(next(items))
    except Exception as error:  # passed on to the thread that asked
        return found, error
    return found, None


def _settle(nice: int) -> None:
    """Give this thread the nice value of a worker process. Only Linux has nice values of threads."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    import torch

    torch.set_num_threads(1)

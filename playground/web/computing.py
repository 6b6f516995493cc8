"""What the page computes with models: in one thread, at the priority of the runs, each in its turn.

Whoever samples or looks inside shares the cores with those who train; a thread of the page's own priority would take them away.
Priorities alone do not prevent it: where the system weighs whole sessions, as Linux does outside containers, a worker's two threads
weigh as much as this one, and both wait for the slower. So it rests as well. Knows nothing of models and of runs but how many train.
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
    """All that one app computes, in the order in which it was asked for; `nice` is the priority of its thread, and `others` says
    how many runs train."""

    def __init__(
        self, nice: int = Settings.nice, waiting: int = MAX_WAITING, patience_s: float = PATIENCE_S, others: Callable[[], int] = lambda: 0
    ):
        self.patience_s, self.others, self._rested_at = patience_s, others, float("-inf")
        self._thread, self._long = ThreadPoolExecutor(1, "computing", initializer=_settle, initargs=(nice,)), threading.Lock()
        self._places, self._streams = threading.Semaphore(waiting + 1), threading.Semaphore(MAX_STREAMS)

    def run(self, do: Callable[[], T]) -> T:
        """What `do` returns or raises, however long it takes for its turn to come."""
        return self._thread.submit(self._fairly, do).result()

    def run_soon(self, do: Callable[[], T]) -> T:
        """The same for a person who waits for the answer, and meanwhile keeps a thread of the server: raises Busy where too
        many wait already, or the turn does not come within the patience."""
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
        """The same items, computed a little at a time, so that others have their turns in between. Raises Busy where too many do
        so already, and what the items raise."""
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
        """For what takes many turns in a row: one such thing at a time. Raises Busy where another goes on."""
        if not self._long.acquire(blocking=False):
            raise Busy(BUSY)
        try:
            yield
        finally:
            self._long.release()

    def _fairly(self, do: Callable[[], T]) -> T:
        """One turn of the thread, after which it rests for as long as it has computed, times the runs that train: so it takes no
        more of the machine than one of them."""
        time.sleep(max(0.0, self._rested_at - time.monotonic()))
        began = time.thread_time()
        try:
            return do()
        finally:
            rest = (time.thread_time() - began) * self.others()
            self._rested_at = time.monotonic() + min(rest, MOST_REST_S)

    def close(self) -> None:
        """Forget what still waits for its turn, so that the process can end."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _a_little(items: Iterator[T]) -> tuple[list[T], Exception | None]:
    """Some of the items, and what ended them, if something did."""
    found, began = [], time.monotonic()
    try:
        while time.monotonic() - began < A_LITTLE_S:
            found.append(next(items))
    except Exception as error:  # the edge of a thread: whoever asked is told
        return found, error
    return found, None


def _settle(nice: int) -> None:
    """Make this very thread as patient as a run's process. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    import torch

    torch.set_num_threads(1)

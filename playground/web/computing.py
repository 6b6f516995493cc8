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
from collections.abc import Callable, Generator, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import TypeVar

from playground.config.settings import Settings
from playground.web.errands import NEAR

PATIENCE_S, MAX_STREAMS = 60.0, 16
LEFT_S = 120.0  # a stream that nobody asks for more of for so long has been left; longer than one turn may take
A_LITTLE_S = 0.05
MOST_REST_S = 1.0
BUSY = "others are looking into models right now; try again in a moment"

T = TypeVar("T")


class Busy(Exception):
    """Too many people want something computed at this moment."""

    code = "busy"


class Superseded(Busy):
    """The same visitor has begun another stream."""

    code = "superseded"


@dataclass
class Stream:
    """A stream that holds a place, read at the network address `near`. `touched_at`: when its reader last asked for more of it."""

    near: str = ""
    touched_at: float = field(default_factory=time.monotonic)


class Computing:
    """The computations of one app, first come, first served; `nice` is the nice value of the thread, `others` tells how many runs
    train."""

    def __init__(
        self, nice: int = Settings.nice, patience_s: float = PATIENCE_S, others: Callable[[], int] = lambda: 0, left_s: float = LEFT_S
    ):
        self.patience_s, self.left_s, self.others, self._rested_at = patience_s, left_s, others, float("-inf")
        self._thread = ThreadPoolExecutor(1, "computing", initializer=_settle, initargs=(nice,))
        self._lock, self._streams = threading.Lock(), dict[Hashable, Stream]()

    def run(self, do: Callable[[], T]) -> T:
        """What `do` returns or raises; waits for its turn without a limit, so no thread of the server may call it."""
        return self._thread.submit(self._fairly, do).result()

    def run_soon(self, do: Callable[[], T]) -> T:
        """As `run`, for a thread of the server: raises Busy where it takes longer than `patience_s`, the wait for its turn included."""
        coming = self._thread.submit(self._fairly, do)
        try:
            return coming.result(self.patience_s)
        except FutureTimeout:
            if coming.done():  # a TimeoutError of its own
                raise
            coming.cancel()
            raise Busy(BUSY) from None

    def stream(self, items: Iterator[T], who: Hashable = None, near: str = "") -> Generator[T]:
        """The items of an iterator, computed in short turns, so that others get theirs in between. `who` reads them, None for somebody
        else each time: the newest stream of a reader ends the one before with Superseded. Raises Busy where too many streams are open,
        in all or at the network address `near`, or no turn comes in time, and what the iterator raises."""
        key = object() if who is None else who
        mine = self._opened(key, near)
        try:
            error = None
            while error is None:
                mine.touched_at = time.monotonic()
                some, error = self.run_soon(lambda: _a_little(items))
                for item in some:
                    if self._streams.get(key) is not mine:
                        raise Superseded("this was ended by a newer text of yours; one is written at a time")
                    mine.touched_at = time.monotonic()
                    yield item
            if not isinstance(error, StopIteration):
                raise error
        finally:
            with self._lock:
                if self._streams.get(key) is mine:
                    del self._streams[key]

    def _opened(self, key: Hashable, near: str) -> Stream:
        """A place for a stream: that of the reader's stream before, else a free one. One that nobody asks for more of is free."""
        with self._lock:
            if key not in self._streams and self._is_full(near):
                long_ago = time.monotonic() - self.left_s
                self._streams = {each: stream for each, stream in self._streams.items() if stream.touched_at > long_ago}
                if self._is_full(near):
                    raise Busy(f"{len(self._streams)} models are writing at this moment; try again when one is done")
            stream = self._streams[key] = Stream(near)
            return stream

    def _is_full(self, near: str) -> bool:
        beside = sum(stream.near == near for stream in self._streams.values())
        return len(self._streams) >= MAX_STREAMS or (bool(near) and beside >= NEAR * MAX_STREAMS)

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

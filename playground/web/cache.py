"""A cache of answers with a short lifetime: equal requests at about the same time share one computation.

A key identifies an answer, such as (run, generation, cursor). Knows nothing of what is computed.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from playground.web.computing import Busy

FRESH_S = 0.15
PATIENCE_S = 5.0  # of those who wait while another thread computes the same

T = TypeVar("T")


class Cache:
    """One thread computes an answer while others wait for it; it stays valid for `fresh_s`. Holds about `size` answers at most."""

    def __init__(self, fresh_s: float = FRESH_S, size: int = 256, patience_s: float = PATIENCE_S):
        self.fresh_s, self.size, self.patience_s = fresh_s, size, patience_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, tuple[float, Future]] = OrderedDict()

    def get(self, key: tuple, compute: Callable[[], T]) -> T:
        """The answer under this key, or what `compute` returns or raises. Raises Busy where another thread computes it for longer than
        `patience_s`."""
        with self._lock:
            now = time.monotonic()
            since, future = self._kept.get(key, (now, None))
            mine = future is None or (future.done() and now - since > self.fresh_s)
            if future is None or mine:
                future = Future()
                self._kept[key] = (now, future)
                self._kept.move_to_end(key)
                self._forget(now)
        if mine:
            try:
                future.set_result(compute())
            except BaseException as error:
                future.set_exception(error)
        try:
            return future.result(self.patience_s)
        except FutureTimeout:
            if future.done():  # a TimeoutError of the computation
                raise
            raise Busy("others have asked for the same, which takes long; try again in a moment") from None

    def _forget(self, now: float) -> None:
        """Drop expired answers, oldest first, because an answer may be large."""
        while len(self._kept) > 1:
            key, (since, future) = next(iter(self._kept.items()))
            if len(self._kept) <= self.size and not (future.done() and now - since > self.fresh_s):
                return
            del self._kept[key]

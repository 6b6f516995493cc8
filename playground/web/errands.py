"""Background jobs: work that takes longer than a request may. It runs once, in a thread, and clients poll until it is done.

Requests for the same work share one errand. Knows nothing of what the work is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

PATIENCE_S = 0.6
AT_ONCE, AT_MOST = 2, 60
KEPT_S = 60.0

Report = Callable[[float | None, str], None]


@dataclass
class Errand:
    """`share`: the part that is done, None if unknown; `words`: what is being done, for people."""

    share: float | None = None
    words: str = "waiting for its turn"
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)
    ended_at: float = float("inf")


class TooManyErrands(OSError):
    """The app has as many errands as it may have."""

    code = "busy"


class Errands:
    """The errands of one app: at most `AT_ONCE` at work, and at most `AT_MOST` in all."""

    def __init__(self) -> None:
        self._lock, self._turns = threading.Lock(), threading.Semaphore(AT_ONCE)
        self._running: dict[Hashable, Errand] = {}

    def go(self, key: Hashable, do: Callable[[Report], object], patience_s: float = PATIENCE_S) -> Errand | None:
        """Begin `do(report)`, or join it where it has begun. Returns None if it is done within `patience_s`, else the errand.
        Raises TooManyErrands, and what `do` raised: once, and then a new call begins anew."""
        with self._lock:
            errand = self._running.get(key)
            if errand is None:
                self._make_room()
                errand = self._running[key] = Errand()
                threading.Thread(target=self._run, args=(errand, do), daemon=True).start()
        return self._settled(key, errand, patience_s)

    def about(self, key: Hashable) -> Errand | None:
        """As `go`, for an errand that is running or has just ended; None where there is none."""
        with self._lock:
            errand = self._running.get(key)
        return None if errand is None else self._settled(key, errand, 0.0)

    def forget(self, key: Hashable) -> None:
        """Drop an errand that has ended but whose end was not fetched, so that the next `go` begins anew."""
        with self._lock:
            if key in self._running and self._running[key].done.is_set():
                del self._running[key]

    def _make_room(self) -> None:
        """Drop errands that ended a while ago and whose end was never fetched."""
        long_ago = time.monotonic() - KEPT_S
        self._running = {key: errand for key, errand in self._running.items() if errand.ended_at > long_ago}
        if len(self._running) >= AT_MOST:
            raise TooManyErrands(f"{len(self._running)} data sets are being prepared at once; try again in a moment")

    def _settled(self, key: Hashable, errand: Errand, patience_s: float) -> Errand | None:
        if not errand.done.wait(patience_s):
            return errand
        with self._lock:
            if self._running.get(key) is errand:  # another thread that waited may have begun it anew already
                del self._running[key]
        if errand.error is not None:
            raise errand.error
        return None

    def _run(self, errand: Errand, do: Callable[[Report], object]) -> None:
        def report(share: float | None, words: str) -> None:
            errand.share, errand.words = share, words

        try:
            with self._turns:
                do(report)
        except Exception as error:  # raised again in the thread that asks
            errand.error = error
        finally:
            errand.ended_at = time.monotonic()
            errand.done.set()

"""Which pages are open and which runs they show. Pages poll, each under a random id of its own. Kept in memory only."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

PAGE_GONE_S = 12.0  # after its last poll; a visible page polls about every second, one in the background rarely
MOST_PAGES = 10_000
CROWD, CALM_POLL_MS = 10, 1000


class Audience:
    """`clock` in seconds. Pages that have not polled for `PAGE_GONE_S` are forgotten, oldest first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._pages: OrderedDict[str, float] = OrderedDict()
        self._looked: dict[str, float] = {}
        self._began = clock()

    def here(self, page: str) -> None:
        """Note a request of this page; an empty name is a program's, which does not count."""
        if not page:
            return
        with self._lock:
            now = self._clock()
            self._pages[page] = now
            self._pages.move_to_end(page)
            while len(self._pages) > MOST_PAGES or now - next(iter(self._pages.values())) > PAGE_GONE_S:
                self._pages.popitem(last=False)

    def looked(self, run_id: str) -> None:
        """Note that somebody has asked for a run's status."""
        with self._lock:
            self._looked[run_id] = self._clock()

    def n_pages(self) -> int:
        """Pages that are open now."""
        with self._lock:
            now = self._clock()
            return sum(now - since <= PAGE_GONE_S for since in self._pages.values())

    def unseen_s(self, run_id: str) -> float:
        """For how long nobody has looked at a run; since the start of this app where nobody ever has."""
        with self._lock:
            return self._clock() - self._looked.get(run_id, self._began)

    def forget(self, run_ids: set[str]) -> None:
        """Forget all runs but these."""
        with self._lock:
            self._looked = {run_id: since for run_id, since in self._looked.items() if run_id in run_ids}

    def poll_ms(self) -> int:
        """The least time a page is to wait between two polls, in ms: none, or a second where many pages are open."""
        return CALM_POLL_MS if self.n_pages() > CROWD else 0

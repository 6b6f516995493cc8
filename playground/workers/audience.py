"""Who looks at what just now: pages that ask again and again, known by a random id of their own. Kept in memory only."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

PAGE_GONE_S = 12.0  # a page in the background asks rarely, one that is shown every second or so
MOST_PAGES = 10_000
CROWD, CALM_POLL_MS = 10, 1000


class Audience:
    """`clock` in seconds. Pages that were not heard of for a while are forgotten, oldest first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._pages: OrderedDict[str, float] = OrderedDict()
        self._looked: dict[str, float] = {}
        self._began = clock()

    def here(self, page: str) -> None:
        """A page has asked something; without a name it is a program."""
        if not page:
            return
        with self._lock:
            now = self._clock()
            self._pages[page] = now
            self._pages.move_to_end(page)
            while len(self._pages) > MOST_PAGES or now - next(iter(self._pages.values())) > PAGE_GONE_S:
                self._pages.popitem(last=False)

    def looked(self, run_id: str) -> None:
        """Somebody has asked how a run is doing."""
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
        """Keep nothing of other runs than these."""
        with self._lock:
            self._looked = {run_id: since for run_id, since in self._looked.items() if run_id in run_ids}

    def poll_ms(self) -> int:
        """How long a page is to wait between two questions at the least: where there are many, everybody a little."""
        return CALM_POLL_MS if self.n_pages() > CROWD else 0

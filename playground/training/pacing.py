"""What the things beside training cost, and how often one of them may happen. Knows nothing of what they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

EARLY_REST, EARLY_GROWTH = 5, 4  # times the cost of one before the second; and how many times as long after each of the first few


class Cost:
    """What an activity has cost so far: `spent` seconds of the clock, and `cpu_s` seconds of computing, all threads together. On a busy
    machine the second alone says what it takes away from training."""

    def __init__(self, clock=time.perf_counter):
        self.clock, self.spent, self.cpu_s = clock, 0.0, 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        start, cpu = self.clock(), time.process_time()
        try:
            yield
        finally:
            self.add(self.clock() - start, time.process_time() - cpu)

    def add(self, seconds: float, cpu_s: float) -> None:
        self.spent += seconds
        self.cpu_s += cpu_s


class Pacer(Cost):
    """Spaces an activity out so that it takes at most `share` of the time, by its measured cost.

    A credit of a few seconds lets the first ones happen early, when most changes. However dear they are, the first `early` ones are
    spread over the beginning: after 5, 20, 80 … times the cost of the one before.
    """

    def __init__(self, share: float, credit_s: float = 0.0, early: int = 0, clock=time.perf_counter):
        super().__init__(clock)
        self.share, self.credit_s, self.early = share, credit_s, early
        self.times, self.last_cost, self.began, self.ended = 0, 0.0, clock(), clock()

    def due(self) -> bool:
        now = self.clock()
        if self.times < self.early and now - self.ended >= EARLY_REST * EARLY_GROWTH ** max(0, self.times - 1) * self.last_cost:
            return True
        return self.spent + self.last_cost <= self.credit_s + self.share * (now - self.began)

    def add(self, seconds: float, cpu_s: float) -> None:
        super().add(seconds, cpu_s)
        self.last_cost, self.ended, self.times = seconds, self.clock(), self.times + 1

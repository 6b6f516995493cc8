"""Whose run is next: round robin over people, not first come. Pure; knows nothing of processes and databases.

Whoever queues ten runs gets a second one only when everybody else who waits has had a first.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from playground.store import Run


def in_turn(queued: Sequence[Run], active: Sequence[Run], served: Mapping[str, float]) -> list[Run]:
    """Queued runs in the order in which they start: of whoever trains least, then of whoever began to train longest ago, by
    `served` (owner to time); each person's own in the order of their places."""
    training, began = Counter(run.owner for run in active), dict(served)
    waiting: dict[str, deque[Run]] = {}
    for run in sorted(queued, key=lambda run: run.place or 0):
        waiting.setdefault(run.owner, deque()).append(run)
    order: list[Run] = []
    later = max(began.values(), default=0.0)
    while waiting:
        owner = min(waiting, key=lambda each: (training[each], began.get(each, float("-inf")), waiting[each][0].place or 0))
        order.append(waiting[owner].popleft())
        if not waiting[owner]:
            del waiting[owner]
        training[owner] += 1
        later += 1.0
        began[owner] = later
    return order


def startable(order: Sequence[Run], active: Sequence[Run], places: int, per_person: int) -> list[Run]:
    """Those who start now, where `places` runs may train at the same time and `per_person` of one owner."""
    training, chosen = Counter(run.owner for run in active), []
    for run in order:
        if len(active) + len(chosen) >= places:
            break
        if training[run.owner] < per_person:
            training[run.owner] += 1
            chosen.append(run)
    return chosen


def starts_in(order: Sequence[Run], active: Sequence[Run], places: int, left_s: Callable[[Run], float | None]) -> list[float | None]:
    """In how many seconds each of them is expected to start, if all take as long as `left_s` says; None from the first on where
    nobody knows."""
    free = [left_s(run) for run in active] + [0.0] * max(0, places - len(active))
    if any(seconds is None for seconds in free) or not free:
        return [None] * len(order)
    heapq.heapify(free)
    found: list[float | None] = []
    for run in order:
        start, takes = heapq.heappop(free), left_s(run)
        found.append(start)
        if takes is None:
            break
        heapq.heappush(free, start + takes)
    return found + [None] * (len(order) - len(found))

"""Fair scheduling of the queue: round robin over owners, not first come, first served. Pure; knows nothing of processes and databases.

An owner who queues ten runs gets a second one only when every other waiting owner has had a first.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from playground.runs.store import Run


def in_turn(queued: Sequence[Run], active: Sequence[Run], served: Mapping[str, float]) -> list[Run]:
    """Queued runs in the order in which they start. The owner with the fewest running runs is first; among equals the one whose
    last run began longest ago, by `served` (owner to time). Runs of one owner keep the order of their places."""
    training = Counter(run.owner for run in active)
    waiting: dict[str, deque[Run]] = {}
    for run in sorted(queued, key=lambda run: run.place or 0):
        waiting.setdefault(run.owner, deque()).append(run)
    order: list[Run] = []
    later = max(served.values(), default=0.0)
    # Only the owner whose turn it was changes place, so a heap knows the next without asking them all.
    heap = [
        (training[owner], served.get(owner, float("-inf")), runs[0].place or 0, i, owner) for i, (owner, runs) in enumerate(waiting.items())
    ]
    heapq.heapify(heap)
    while heap:
        n_training, _, _, i, owner = heapq.heappop(heap)
        order.append(waiting[owner].popleft())
        later += 1.0
        if waiting[owner]:
            heapq.heappush(heap, (n_training + 1, later, waiting[owner][0].place or 0, i, owner))
    return order


def startable(order: Sequence[Run], active: Sequence[Run], places: int, per_person: int) -> list[Run]:
    """The runs that start now, where `places` runs may train at the same time, and `per_person` of one owner."""
    training, chosen = Counter(run.owner for run in active), []
    for run in order:
        if len(active) + len(chosen) >= places:
            break
        if training[run.owner] < per_person:
            training[run.owner] += 1
            chosen.append(run)
    return chosen


def starts_in(
    queued: Sequence[Run], active: Sequence[Run], served: Mapping[str, float], places: int, per_person: int,
    left_s: Callable[[Run], float | None],
) -> dict[str, float | None]:  # fmt: skip
    """By id, in how many seconds each queued run is expected to start, if every run takes `left_s` seconds and the queue does not
    change. A run with unknown `left_s` is assumed never to end: None for the runs that would have to wait for it."""
    waiting, training, ends, began, now = list(queued), list(active), [], dict(served), 0.0
    found: dict[str, float | None] = {run.id: None for run in queued}
    for run in active:
        began.setdefault(run.owner, 0.0)
        _note_end(ends, run, now, left_s)
    while waiting:
        for run in startable(in_turn(waiting, training, began), training, places, per_person):
            found[run.id] = now
            began[run.owner] = max(began.values(), default=0.0) + 1.0
            waiting.remove(run)
            training.append(run)
            _note_end(ends, run, now, left_s)
        if not ends:
            break
        now, _, ended = heapq.heappop(ends)
        training.remove(ended)
    return found


def _note_end(ends: list[tuple[float, str, Run]], run: Run, now: float, left_s: Callable[[Run], float | None]) -> None:
    left = left_s(run)
    if left is not None:
        heapq.heappush(ends, (now + left, run.id, run))

"""The points of a run's curves, thinned: a curve on a screen needs no more than about two thousand of them.

Of each stretch of steps the rows with the smallest and the largest loss are kept, so no spike is lost, and the newest rows all.
Each call reads only the rows that are new. Knows nothing of figures.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from playground.runs.store import Row, Run, Store, StoreBusy

KINDS = ("progress", "validation", "accuracy")
MOST, NEWEST = 2000, 100  # points of one kind, and how many of the last ones are always among them
AT_A_TIME, MOST_RUNS = 20_000, 32
PATIENCE_S = 5.0
SPAN = 10  # points over which the smoothed loss is averaged, about


def thinned(rows: Sequence[Row], most: int, newest: int = 0) -> list[Row]:
    """At most about `most` of the rows: the first, the `newest` last ones, and of each stretch of steps the extremes and the first one
    whose loss is not finite."""
    if len(rows) <= most:
        return list(rows)
    first_of_last = len(rows) - min(max(1, newest), most // 2)
    width = (rows[first_of_last].step - rows[0].step + 1) / max(1, (most - (len(rows) - first_of_last)) // 2)
    stretches: dict[int, list[int]] = {}
    for i in range(first_of_last):
        stretches.setdefault(int((rows[i].step - rows[0].step) / width), []).append(i)
    kept = {0, *range(first_of_last, len(rows))}
    for stretch in stretches.values():
        finite = [i for i in stretch if _is_finite(rows[i])]
        if finite:
            kept |= {min(finite, key=lambda i: rows[i].body["loss"]), max(finite, key=lambda i: rows[i].body["loss"])}
        if len(finite) < len(stretch):
            kept.add(next(i for i in stretch if not _is_finite(rows[i])))
    return [rows[i] for i in sorted(kept)]


def _is_finite(row: Row) -> bool:
    loss = row.body.get("loss")
    return isinstance(loss, int | float) and math.isfinite(loss)


@dataclass
class _Known:
    """What has been read of a run. `sum` and `weights` continue the smoothed loss."""

    generation: int
    cursor: int = 0
    rows: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    sum: float = 0.0
    weights: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Points:
    """The thinned points of the runs that were asked for last."""

    def __init__(self, db: Store):
        self.db, self._lock = db, threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def of(self, run: Run) -> dict[str, list[Row]]:
        """The rows by kind, oldest first; those of progress have a `smoothed_loss` too, an exponential average over all points. Raises
        StoreBusy where others read the same run for too long."""
        with self._lock:
            known = self._known.get(run.id)
            if known is None or known.generation != run.generation:
                known = self._known[run.id] = _Known(run.generation)
            self._known.move_to_end(run.id)
            while len(self._known) > MOST_RUNS:
                self._known.popitem(last=False)
        if not known.lock.acquire(timeout=PATIENCE_S):
            raise StoreBusy(f"the points of {run.name!r} are being read; try again in a moment")
        try:
            self._read_on(run.id, known)
            return {kind: list(rows) for kind, rows in known.rows.items()}
        finally:
            known.lock.release()

    def _read_on(self, run_id: str, known: _Known) -> None:
        while rows := self.db.events(run_id, after=known.cursor, kinds=KINDS, limit=AT_A_TIME):
            for row in rows:
                if row.kind == "progress":
                    row.body["smoothed_loss"] = self._smoothed(known, row)
                known.rows[row.kind].append(row)
            known.cursor = rows[-1].id
            for kind, some in known.rows.items():
                if len(some) > 2 * MOST or len(rows) == AT_A_TIME:
                    known.rows[kind] = thinned(some, MOST, NEWEST)

    def _smoothed(self, known: _Known, row: Row) -> float | None:
        if _is_finite(row):
            keep = 1 - 2 / (SPAN + 1)
            known.sum, known.weights = keep * known.sum + row.body["loss"], keep * known.weights + 1
        return known.sum / known.weights if known.weights else None

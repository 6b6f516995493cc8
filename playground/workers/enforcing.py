"""Enforces the host's limits on running runs: training time, length of a turn while others wait, time unwatched, disk space.

It only sets what is wanted of a run, as its owner would; the run's worker saves a checkpoint and obeys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from playground.config.settings import Settings
from playground.runs import disk, store
from playground.runs.access import HOST
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.training.outcome import Cause
from playground.workers import queueing
from playground.workers.audience import Audience

EVERY_S, DISK_EVERY_S = 1.0, 20.0


class Enforcer:
    """Called at every tick of the supervisor. `clock` is monotonic, in seconds, because the time of day may jump."""

    def __init__(self, root: Path, db: Store, audience: Audience, clock: Callable[[], float] = time.monotonic):
        self.root, self.db, self.audience, self.clock = root, db, audience, clock
        self.scale = disk.Scale(root)
        self._last, self._disk_last = float("-inf"), float("-inf")
        self._turns: dict[tuple[str, int], float] = {}

    def enforce(self, active: Sequence[Run], settings: Settings) -> None:
        """Enforce every limit that is due for a check; the host's own runs are exempt."""
        now = self.clock()
        if now - self._last < EVERY_S:
            return
        self._last = now
        bound = [run for run in active if run.state == store.RUNNING and run.owner != HOST.id]
        turns = self._note_turns(bound, now)
        for run in bound:
            self._limit(run, min(self.audience.unseen_s(run.id), turns[run.id]), settings)
        self._make_place(bound, active, turns, settings)
        if now - self._disk_last > DISK_EVERY_S:
            self.watch_disk(settings)

    def _note_turns(self, running: Sequence[Run], now: float) -> dict[str, float]:
        """Seconds that each run has trained without a break, as far as this app has seen."""
        self._turns = {(run.id, run.generation): self._turns.get((run.id, run.generation), now) for run in running}
        return {run_id: now - since for (run_id, _), since in self._turns.items()}

    def _limit(self, run: Run, unseen_s: float, settings: Settings) -> None:
        most, idle = settings.max_seconds, settings.max_idle_seconds
        if most is not None and run.seconds > most:
            self.db.want_if_free(run.id, "stop", f"stopped after {most:,} s of training, this playground's limit", Cause.TIME)
        elif idle is not None and unseen_s > idle:
            why = f"paused because nobody has looked at it for {idle:,} s, this playground's limit; resume it to go on"
            self.db.want_if_free(run.id, "pause", why, Cause.IDLE)

    def _make_place(self, bound: Sequence[Run], active: Sequence[Run], turns: dict[str, float], settings: Settings) -> None:
        """Of the runs whose turn is over, let the one that has trained longest yield, if another owner's run can start in its place."""
        over = [run for run in bound if settings.max_turn_seconds is not None and turns[run.id] > settings.max_turn_seconds]
        if not over or any(run.wanted == "yield" for run in active):
            return
        waiting, served = self.db.runs_in([store.QUEUED]), self.db.last_starts()
        places, each = settings.max_running, settings.running_each
        if queueing.startable(queueing.in_turn(waiting, active, served), active, places, each):
            return  # a place is free already
        for run in sorted(over, key=lambda run: -turns[run.id]):
            others = [other for other in active if other.id != run.id]
            after = queueing.in_turn([*waiting, replace(run, place=2**62)], others, served)
            first = queueing.startable(after, others, places, each)
            if run.id not in [other.id for other in first] and any(other.owner != run.owner for other in first):
                why = f"others wait: goes on from step {run.step:,} or later when it is its turn again"
                self.db.want_if_free(run.id, "yield", why, Cause.TURN)
                return

    def watch_disk(self, settings: Settings) -> None:
        """Thin the probes of every owner over their share of the disk. Deleting runs is only proposed to them."""
        runs, usage = self.db.runs(), self.scale.usage()
        for owner in disk.over_share(usage, runs, self.db.uploads(), usage.share(settings)):
            for run in runs:
                if run.owner == owner != HOST.id and run.state not in store.IN_PROGRESS:
                    disk.thin_probes(RunFolder(self.root, run.id).path)
        self.audience.forget({run.id for run in runs})
        self._disk_last = self.clock()

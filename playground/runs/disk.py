"""How much room the runs take, and what gives some back: thinner probes first, then old runs, which are offered and never taken.

Knows nothing of pages. A run's last checkpoint is never touched.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from playground.runs import store
from playground.runs.store import Run
from playground.system.files import evenly
from playground.training import paths

FEW_PROBES = 20
RESERVE_BYTES = 200_000_000  # so that runs that train can still save and the database can be written


@dataclass(frozen=True)
class Usage:
    """Bytes: of each run by its id, of everything under the root, and what the disk has left."""

    runs: dict[str, int] = field(default_factory=dict)
    total: int = 0
    free: int = 2**63 - 1

    def of(self, owner: str, runs: Iterable[Run]) -> int:
        """All runs of one person."""
        return sum(self.runs.get(run.id, 0) for run in runs if run.owner == owner)


class Scale:
    """What is used, weighed again for whoever asks once the last answer is some seconds old. Safe to ask from several threads."""

    def __init__(self, root: Path, fresh_s: float = 15.0):
        self.root, self.fresh_s, self._lock = root, fresh_s, threading.Lock()
        self._last, self._at = Usage(), float("-inf")

    def usage(self) -> Usage:
        with self._lock:
            if time.monotonic() - self._at > self.fresh_s:
                self._last, self._at = measure(self.root), time.monotonic()
            return self._last


def measure(root: Path) -> Usage:
    runs = {each.name: _bytes_in(each) for each in _folders(root / "runs")}
    rest = sum(_bytes_in(each) for each in _folders(root) if each.name != "runs")
    own = sum(each.stat().st_size for each in root.glob("playground.db*") if each.exists())
    return Usage(runs, sum(runs.values()) + rest + own, shutil.disk_usage(root).free)


def _folders(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())


def _bytes_in(folder: Path) -> int:
    """What its files take; those that vanish meanwhile take nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                continue
    return total


def thin_probes(folder: Path, keep: int = FEW_PROBES) -> None:
    """Leave at most so many probes of each text, evenly spread, first and last always kept."""
    texts: dict[str, dict[int, Path]] = defaultdict(dict)
    for probe in paths.all_probes(paths.probes(folder)):
        texts[probe.text_hash][probe.step] = probe.path
    for steps in texts.values():
        for step in set(steps) - evenly(sorted(steps), keep):
            steps[step].unlink(missing_ok=True)


def over_share(usage: Usage, runs: list[Run], share: int | None) -> dict[str, int]:
    """By how many bytes whoever has too much is over their share."""
    if share is None:
        return {}
    taken: dict[str, int] = defaultdict(int)
    for run in runs:
        taken[run.owner] += usage.runs.get(run.id, 0)
    return {owner: size - share for owner, size in taken.items() if size > share}


def offered(usage: Usage, runs: list[Run], owner: str, over: int) -> list[Run]:
    """The oldest runs of a person that are over and whose deletion would make enough room."""
    ended = [run for run in runs if run.owner == owner and run.state not in (*store.IN_PROGRESS, store.PAUSED)]
    found, left = [], over
    for run in sorted(ended, key=lambda run: run.ended_at or run.created_at):
        if left <= 0:
            break
        found.append(run)
        left -= usage.runs.get(run.id, 0)
    return found

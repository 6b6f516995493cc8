"""Disk use of the runs, and how to free some: probes are thinned first; old runs are only proposed for deletion, never deleted.

A run's last checkpoint is never touched. Knows nothing of pages.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from playground.config.settings import Settings
from playground.runs import store
from playground.runs.store import Run
from playground.system.files import evenly
from playground.training import paths

FEW_PROBES = 20
RESERVE_BYTES = 200_000_000  # kept free, so that running runs can save and the database can be written


@dataclass(frozen=True)
class Usage:
    """In bytes: what each run takes (by id), what everything under the root takes, and what the disk has free."""

    runs: dict[str, int] = field(default_factory=dict)
    total: int = 0
    free: int = 2**63 - 1

    def of(self, owner: str, runs: Iterable[Run], uploads: Mapping[str, Mapping[str, int]]) -> int:
        """What all runs of one person take, and the texts that they brought."""
        return sum(self.runs.get(run.id, 0) for run in runs if run.owner == owner) + sum(uploads.get(owner, {}).values())

    def most(self, settings: Settings) -> int:
        """What everything may take: the host's limit, or most of what is free and taken now."""
        return settings.max_disk if settings.max_disk is not None else (self.total + self.free) // 10 * 9

    def share(self, settings: Settings) -> int:
        """What one person may take: the host's limit, or a quarter of what everything may."""
        return settings.max_disk_each if settings.max_disk_each is not None else self.most(settings) // 4


class Scale:
    """Disk usage, measured anew when the last measurement is older than `fresh_s` seconds. Thread-safe."""

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
    """The size of all its files; a file deleted meanwhile counts as 0."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                continue
    return total


def thin_probes(folder: Path, keep: int = FEW_PROBES) -> None:
    """Keep at most `keep` probes of each text, evenly spread, the first and the last among them."""
    texts: dict[str, dict[int, Path]] = defaultdict(dict)
    for probe in paths.all_probes(paths.probes(folder)):
        texts[probe.text_hash][probe.step] = probe.path
    for steps in texts.values():
        for step in set(steps) - evenly(sorted(steps), keep):
            steps[step].unlink(missing_ok=True)


def over_share(usage: Usage, runs: list[Run], uploads: Mapping[str, Mapping[str, int]], share: int) -> dict[str, int]:
    """By owner, how many bytes they use beyond their share; only owners who do."""
    taken: dict[str, int] = defaultdict(int)
    for owner, texts in uploads.items():
        taken[owner] += sum(texts.values())
    for run in runs:
        taken[run.owner] += usage.runs.get(run.id, 0)
    return {owner: size - share for owner, size in taken.items() if size > share}


def offered(usage: Usage, runs: list[Run], owner: str, over: int) -> list[Run]:
    """A person's oldest ended runs, as many as must be deleted to free `over` bytes."""
    ended = [run for run in runs if run.owner == owner and run.state not in (*store.IN_PROGRESS, store.PAUSED)]
    found, left = [], over
    for run in sorted(ended, key=lambda run: run.ended_at or run.created_at):
        if left <= 0:
            break
        found.append(run)
        left -= usage.runs.get(run.id, 0)
    return found

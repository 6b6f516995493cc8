"""Which cores a run's worker computes on: runs that share a machine stay off each other's, and none is moved about.

Beside a run of one thread, one of two threads was seen to take 82 instead of 91 ms a step where the other was pinned, which itself
took 62 instead of 65; two runs of one thread each do not notice. Does nothing where the system knows no such thing (macOS).
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

_THREADS = Path("/proc/self/task")


def available() -> list[int]:
    """The cores that this process may use; empty where nobody can say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def choose(threads: int, taken: Iterable[Collection[int]], among: Sequence[int]) -> list[int]:
    """As many cores as threads, if there are so many: those that fewest others have been given."""
    load = Counter(core for cores in taken for core in cores)
    return sorted(sorted(among, key=lambda core: (load[core], core))[: max(1, threads)])


def pin(cores: Collection[int]) -> None:
    """Keep this process, with all threads that it has by now, on these cores; those that are not there are no reason to fail."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    threads = [int(each.name) for each in _THREADS.iterdir()] if _THREADS.is_dir() else [0]
    for thread in threads:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(thread, cores)

"""The machine's cores and threads: how many there are, and which of them a run's worker is pinned to.

Runs that share a machine get different cores, and no thread migrates. Measured with a run of two threads beside a run of one:
82 ms a step instead of 91, and 62 instead of 65 for the other; two runs of one thread each gain nothing. Pinning does nothing
where the system has no affinity (macOS).
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

_THREADS, _AUTOGROUP = Path("/proc/self/task"), Path("/proc/self/autogroup")


def n_cpus() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available() -> list[int]:
    """The cores that this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def choose(threads: int, taken: Iterable[Collection[int]], among: Sequence[int]) -> list[int]:
    """One core per thread, as far as there are enough: those that the fewest others have been given."""
    load = Counter(core for cores in taken for core in cores)
    return sorted(sorted(among, key=lambda core: (load[core], core))[: max(1, threads)])


def pin(cores: Collection[int]) -> None:
    """Pin all present threads of this process to these cores. Threads that have ended and cores that do not exist are ignored."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    threads = [int(each.name) for each in _THREADS.iterdir()] if _THREADS.is_dir() else [0]
    for thread in threads:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(thread, cores)


def yield_to_others(nice: int) -> None:
    """Lower the priority of this process by `nice` (0 to 19), and with it that of the session that it leads."""
    os.nice(nice)
    yield_session()


def yield_session() -> None:
    """Give the session that this process leads the priority of the process.

    Linux with autogroups shares the processor out between sessions first, by a nice value that each session has, and only then
    between the processes of one: there a worker with nice 10 alone had as much of two busy cores as the page's whole session.
    """
    with contextlib.suppress(OSError):  # no autogroups
        if os.getsid(0) == os.getpid() and _AUTOGROUP.exists():
            _AUTOGROUP.write_text(str(os.nice(0)))


def calm_threads(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which torch's idle threads go to sleep soon instead of spinning; set it before torch is imported.

    By default OpenMP threads spin for milliseconds between two matrix products, which was measured to cost nine tenths of the
    speed beside another process that computes. 5,000 turns are enough to bridge the gap to the next product, so a run alone
    keeps its speed. With 1,000 turns a run alone was a sixth slower, and a run beside another one 1.5 times as fast.
    """
    return {"GOMP_SPINCOUNT": "5000", **environ}

"""Memory of the machine and of processes, and settings of glibc's allocator for this process. Imports no torch."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

# Options of malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
GPUS = (Path("/dev/nvidia0"), Path("/dev/kfd"))
OOM_SCORE = 500  # of -1000 to 1000: as if half of the machine's memory were taken as well


def keep() -> None:
    """Keep the memory that one training step frees for the next. Returning it to the system and fetching it again page by page
    was seen to cost up to a tenth of a step. For processes that train and then end."""
    _set((_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26), (_MMAP_THRESHOLD, 2**30))


def give_back() -> None:
    """Return large blocks to the system at once, and let all threads share two heaps. For servers that run for days: they must
    not grow with every model that is sampled from."""
    _set((_ARENA_MAX, 2), (_MMAP_THRESHOLD, 2**20), (_TRIM_THRESHOLD, 2**23))


def _set(*options: tuple[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in options:
            mallopt(option, size)


def end_me_first() -> None:
    """Let the system end this process, and those that it starts, before others when memory runs out (Linux)."""
    with contextlib.suppress(OSError):
        (PROC / "self" / "oom_score_adj").write_text(str(OOM_SCORE))


def of_machine(proc: Path = PROC, cgroups: Path = CGROUPS) -> dict | None:
    """Bytes of memory in all and available, where Linux says so: of the machine, or of the smallest control group (cgroup) around
    this process, such as a container."""
    try:
        lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines() if ":" in line)
        found = {name: int(lines[key].split()[0]) * 1024 for name, key in (("total", "MemTotal"), ("available", "MemAvailable"))}
    except (OSError, KeyError, ValueError):
        return None
    for most, taken in _limits(proc, cgroups):
        found = {"total": min(found["total"], most), "available": min(found["available"], max(0, most - taken))}
    return found


def _limits(proc: Path, cgroups: Path) -> Iterator[tuple[int, int]]:
    """(most, taken) in bytes of each control group around this process that has a limit. Cached files that were not used lately do
    not count as taken: the system drops them when it needs room."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = cgroups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = Path(path.strip("/"))
        for folder in (base / inner, *(base / outer for outer in inner.parents)):
            with contextlib.suppress(OSError, ValueError, KeyError):  # not there, no limit ("max"), or another version
                most, taken = (int((folder / name).read_text()) for name in names[:2])
                cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield most, taken - int(cached[names[2]])


def of_process(pid: int, proc: Path = PROC) -> int:
    """Bytes that only this process holds, and that its end would free; 0 where that is not known."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        rows = (line.split() for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines())
        return sum(int(row[1]) * 1024 for row in rows if row[0] in ("Private_Clean:", "Private_Dirty:"))
    return 0


def trains_in_it(device: str) -> bool:
    """Whether a run on this device (`auto`, `cpu` …) keeps its model in the machine's memory, and not in that of a GPU."""
    return device == "cpu" or (device == "auto" and not any(path.exists() for path in GPUS))

"""Memory of the machine, and settings of glibc's allocator for this process. Imports no torch."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

# Options of malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


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


def of_machine(path: Path = Path("/proc/meminfo")) -> dict | None:
    """Bytes of memory in all and available, where Linux says so."""
    try:
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        return {name: int(lines[key].split()[0]) * 1024 for name, key in (("total", "MemTotal"), ("available", "MemAvailable"))}
    except (OSError, KeyError, ValueError):
        return None

"""A module of ours run as a process of its own, so that what goes wrong in it, such as running out of memory, stays there.

It gets one JSON object as its standard input and answers by JSON lines. Knows nothing of what it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

from playground.system.files import REPOSITORY


class ChildDied(Exception):
    """The process ended before its time: `out_of_time` where it has used up its processor time."""

    def __init__(self, status: int):
        super().__init__(f"it ended with status {status}")
        self.out_of_time = -status in (signal.SIGXCPU, signal.SIGKILL)


def talk(module: str, request: dict) -> Iterator[dict]:
    """Run `python -m module` and yield what it answers, until it ends; it is killed where the reader stops earlier. Raises ChildDied."""
    process = subprocess.Popen(
        [sys.executable, "-m", module], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
        for line in process.stdout:
            with contextlib.suppress(ValueError):  # cut off by its death, which is told below
                yield json.loads(line)
        if process.wait():
            raise ChildDied(process.returncode)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def request() -> dict:
    """In the process itself: what is asked of it."""
    return json.load(sys.stdin)


def answer(body: dict) -> None:
    """In the process itself: one line for its reader."""
    sys.stdout.write(json.dumps(body) + "\n")
    sys.stdout.flush()


def confine(memory_bytes: int, cpu_s: int) -> None:
    """Limit the address space and the processor time of this process, and lower its priority. Beyond the first Python raises
    MemoryError, and a library may abort; beyond the second the system ends the process."""
    for which, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # not every system has every limit, or one of its own is lower
            resource.setrlimit(which, (most, most))
    os.nice(5)

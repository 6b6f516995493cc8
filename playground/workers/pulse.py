"""Heartbeat: tells a worker that hangs from one that works. The worker touches its lock file; the supervisor measures the silence.

A hanging worker (stopped, or waiting for something that never comes) keeps its lock, so the lock alone is no sign of work. A
thread beside the training touches the lock file as long as the rest of the process uses CPU time: a long step or a busy machine
does not count as silence, and the training code has nothing to report. The file's mtime is only compared with its own last value,
so setting the clock back changes nothing; the watcher's own clock counts for how long it stayed the same. Knows nothing of runs
and the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from playground.system import locks

BEAT_S = 1.0
LITTLE_WORK_S = 0.002
LONGEST_TICK_S = 5.0


class Pulse:
    """The heartbeat of this process, shown at a lock that it holds, until the process ends or the lock is released."""

    def __init__(self, lock: locks.Lock):
        self._lock = lock

    def start(self) -> None:
        sign(self._lock)
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def _beat(self) -> None:
        before = float("-inf")
        while True:
            # Without this thread's own CPU time, which is no sign of work.
            work = time.process_time() - time.thread_time()
            if work - before >= LITTLE_WORK_S:
                before = work
                with contextlib.suppress(OSError):
                    self._lock.touch()
            time.sleep(BEAT_S)


class Silence:
    """How long locks have shown no pulse, by the watcher's own clock.

    Time in which the watcher itself did not run does not count: when the whole machine was suspended, no worker was silent.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._seen: dict[Path, tuple[int, float, float]] = {}

    def of(self, lock: Path) -> float:
        """Silence in seconds. Call it at every look at a lock that is held."""
        try:
            beat = lock.stat().st_mtime_ns
        except FileNotFoundError:
            return 0.0
        now = self._clock()
        last_beat, last_look, silent = self._seen.get(lock, (None, now, 0.0))
        silent = silent + min(now - last_look, LONGEST_TICK_S) if beat == last_beat else 0.0
        self._seen[lock] = beat, now, silent
        return silent

    def forget(self, lock: Path) -> None:
        self._seen.pop(lock, None)


def sign(lock: locks.Lock) -> None:
    """Write into a lock file which process holds it. On a full disk that fails, and a holder that is not certain is never killed."""
    with contextlib.suppress(OSError):
        lock.sign(json.dumps({"pid": os.getpid(), "born": born(os.getpid())}))


@dataclass(frozen=True)
class Holder:
    """The process that signed a lock: its id and its start time, because process ids are reused."""

    pid: int
    born: str


def holder(lock: Path) -> Holder | None:
    """The process that holds a lock; None unless the lock is held and the process that signed it still runs."""
    try:
        signed = json.loads(lock.read_text())
        found = Holder(signed["pid"], signed["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if locks.is_locked(lock) and found.born and born(found.pid) == found.born else None


def end(lock: Path, patience_s: float = 5.0) -> bool:
    """Kill the process that holds a lock, if `holder` knows it for certain; returns whether the lock is free now."""
    found = holder(lock)
    if found is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "pidfd_open"):
            handle = os.pidfd_open(found.pid)
            try:
                # A pidfd signals that process or none. Checked again: the id may have been reused before the pidfd was opened.
                if holder(lock) == found:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
        else:
            os.kill(found.pid, signal.SIGKILL)
    deadline = time.monotonic() + patience_s
    while locks.is_locked(lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def born(pid: int) -> str:
    """When a process started, in the system's own notation; empty where there is no such process."""
    try:
        # Field 22, in ticks since boot; fields are counted after the name, which may contain anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if Path("/proc").exists():
            return ""
    except (ProcessLookupError, IndexError):
        return ""
    return subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()

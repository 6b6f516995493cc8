"""Whether a worker that lives is also at work: it shows a pulse, and the supervisor counts the silence.

A worker that hangs (stopped, or waiting for something that never comes) keeps its lock, so the lock alone does not tell. Beside
its training a thread touches the lock file as long as the rest of the process uses the processor: a long step or a busy machine
is no silence, and nothing else has to remember to report. The time of the file is only compared with itself, so that a clock
that is set back changes nothing; how long it stayed the same is counted by whoever watches. Knows nothing of runs and the store.
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
    """Of this process, shown at a lock that it holds, until the process ends or the lock is released."""

    def __init__(self, lock: locks.Lock):
        self._lock = lock

    def start(self) -> None:
        sign(self._lock)
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def _beat(self) -> None:
        before = float("-inf")
        while True:
            # What this very thread uses is no sign of work.
            work = time.process_time() - time.thread_time()
            if work - before >= LITTLE_WORK_S:
                before = work
                with contextlib.suppress(OSError):
                    self._lock.touch()
            time.sleep(BEAT_S)


class Silence:
    """How long locks have shown no pulse, by the watcher's own clock.

    Time in which the watcher itself did not run does not count: where the whole machine stood still, nobody was silent.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._seen: dict[Path, tuple[int, float, float]] = {}

    def of(self, lock: Path) -> float:
        """In seconds; to be asked at every look at a lock that is held."""
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
    """Say in a lock that this process holds it. On a full disk there is no room to; then nobody can be certain, and it is left alone."""
    with contextlib.suppress(OSError):
        lock.sign(json.dumps({"pid": os.getpid(), "born": born(os.getpid())}))


@dataclass(frozen=True)
class Holder:
    """Who signed a lock: a process, and when it was born, because the numbers of processes are used again."""

    pid: int
    born: str


def holder(lock: Path) -> Holder | None:
    """Who holds a lock, where that is certain: whoever signed it, holds it still and is the same process."""
    try:
        signed = json.loads(lock.read_text())
        found = Holder(signed["pid"], signed["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if locks.is_locked(lock) and found.born and born(found.pid) == found.born else None


def end(lock: Path, patience_s: float = 5.0) -> bool:
    """Kill the process that holds a lock, if it is certain which one that is; says whether the lock is free now."""
    found = holder(lock)
    if found is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "pidfd_open"):
            handle = os.pidfd_open(found.pid)
            try:
                # By a handle the signal reaches that process or none, provided that the handle is of the right one.
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
    """When a process began, as the system tells it; empty where there is none such."""
    try:
        # After the name, which may hold anything: field 22, in ticks since the machine started.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if Path("/proc").exists():
            return ""
    except (ProcessLookupError, IndexError):
        return ""
    return subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()

"""Exclusive locks between processes. The kernel drops them when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


class Lock:
    """A held lock; released by `release` or with the process."""

    def __init__(self, handle: int):
        self._handle: int | None = handle

    def sign(self, text: str) -> None:
        """Write a text into the lock file, for processes that find it locked."""
        if self._handle is not None:
            os.pwrite(self._handle, text.encode(), 0)

    def touch(self) -> None:
        """Set the file's modification time to now: a heartbeat, by which others see that the holder is at work."""
        if self._handle is not None:
            os.utime(self._handle)

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def acquire(path: Path, patience_s: float = 0.0) -> Lock | None:
    """Take the lock on a file (created if missing); None where another process still holds it after `patience_s`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)  # removes what an earlier holder wrote
            return Lock(handle)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                return None
            time.sleep(0.02)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock. Takes a shared lock for an instant to find out."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)

"""Atomic writes: a file is there whole or not at all, also after a power cut. And the removal of what killed processes leave."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = REPOSITORY / "assets"
# The numbers of the errors that mean "the disk or a quota is full" and "nothing may be written here".
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
UNFINISHED = re.compile(r"\..+\.unfinished")


def publish(path: Path, data: bytes) -> None:
    """Write to a temporary name, fsync, rename, fsync the folder. Raises OSError, leaving nothing half-written."""
    publish_by(path, lambda temporary: Path(temporary).write_bytes(data))


def publish_by(path: Path, write: Callable[[str], object]) -> None:
    """As `publish`, for a library that writes a file by name."""
    with unfinished(path.parent, path.name, _new_file) as temporary:
        write(str(temporary))
        _sync(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    _sync(path.parent)


def making(folder: Path, name: str) -> contextlib.AbstractContextManager[Path]:
    """A new temporary folder inside `folder`, to be filled and renamed; it is removed at the end unless it was renamed."""
    return unfinished(folder, name, tempfile.mkdtemp)


@contextlib.contextmanager
def unfinished(folder: Path, name: str, make: Callable[..., str]) -> Iterator[Path]:
    """A temporary file or folder, locked while this process works on it. A killed process leaves it behind unlocked, by which
    `sweep` recognises it."""
    path, handle = None, None
    while path is None or handle is None:
        path = Path(make(dir=folder, prefix=f".{name}.", suffix=".unfinished"))
        handle = _locked(path)
    try:
        yield path
    finally:
        remove(path)
        os.close(handle)


def _locked(path: Path) -> int | None:
    """Lock what was just made; returns the handle that holds the lock, or None where a sweep has removed it in between."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def sweep(folder: Path) -> int:
    """Remove the temporary files and folders that killed processes left in `folder` and below; returns how many."""
    found = [Path(at) / name for at, folders, names in os.walk(folder) for name in (*folders, *names) if UNFINISHED.fullmatch(name)]
    n_removed = 0
    for path in found:
        with claim(path) as mine:
            if mine:
                remove(path)
                n_removed += 1
    return n_removed


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to lock a file or folder inside the `with`; gives False where another process holds it, or where it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = False
        yield mine
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # of a folder: on Linux, on macOS
        shutil.rmtree(path, ignore_errors=True)


def text_hash(text: str) -> str:
    """The folder name under which the probes of a text are kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _new_file(**where) -> str:
    handle, path = tempfile.mkstemp(**where)
    os.close(handle)
    return path


def _sync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def evenly(steps: list[int], keep: int, always: Iterable[int] = ()) -> set[int]:
    """At most `keep` of ascending `steps`, spread evenly: first, last and `always` among them.

    Dropping the step whose neighbours are closest together keeps the rest evenly spread
    however often new ones are added.
    """
    kept, fixed = list(steps), {steps[0], steps[-1], *always} if steps else set()
    while len(kept) > keep:
        candidates = [i for i in range(1, len(kept) - 1) if kept[i] not in fixed]
        if not candidates:
            break
        del kept[min(candidates, key=lambda i: kept[i + 1] - kept[i - 1])]
    return set(kept)


def megabytes(size: int) -> str:
    """A number of bytes for people, in MB or GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"

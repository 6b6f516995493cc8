"""Files that are there whole or not at all, also after a power cut; and what they are called."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def publish(path: Path, data: bytes) -> None:
    """Write to a temporary name, fsync, rename, fsync the folder. Raises OSError, leaving nothing half-written."""
    publish_by(path, lambda temporary: Path(temporary).write_bytes(data))


def publish_by(path: Path, write: Callable[[str], object]) -> None:
    """As `publish`, for a library that writes a file by name."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        _sync(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync(path.parent)


def text_hash(text: str) -> str:
    """The folder name under which the probes of a text are kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _sync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def evenly(steps: list[int], keep: int, always: Iterable[int | None] = ()) -> set[int]:
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

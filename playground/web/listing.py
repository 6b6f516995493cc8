"""The list of runs, of which a page that has asked before gets only what has changed since.

Each state of the list has a version. A run that was deleted, or made private, since a version is named as gone, to those who may have
seen it. Knows nothing of requests.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from playground.runs.access import Visitor
from playground.runs.store import Run

MOST_GONE = 1000


@dataclass
class _Entry:
    """A run as it was told last. `changed` and `hidden`: the versions at which it changed last, and became private."""

    run: Run
    told: dict
    changed: int
    hidden: int = 0


class Listing:
    """The list of one app. `read` returns all runs, newest first, each with what is told of it."""

    def __init__(self, read: Callable[[], Iterable[tuple[Run, dict]]]):
        self._read, self._lock, self._epoch = read, threading.Lock(), secrets.token_hex(4)
        self._version = self._forgotten = 0
        self._entries: dict[str, _Entry] = {}
        self._gone: dict[str, tuple[int, _Entry]] = {}

    def refresh(self) -> None:
        """Read the list anew."""
        told = {run.id: (run, about) for run, about in self._read()}
        with self._lock:
            self._version += 1
            for run_id in self._entries.keys() - told.keys():
                self._gone[run_id] = self._version, self._entries.pop(run_id)
            while len(self._gone) > MOST_GONE:
                self._forgotten = self._gone.pop(next(iter(self._gone)))[0]
            self._entries = {run_id: self._entry(run, about) for run_id, (run, about) in told.items()}

    def _entry(self, run: Run, about: dict) -> _Entry:
        known = self._entries.get(run.id)
        if known is None:
            return _Entry(run, about, self._version)
        if known.told == about and known.run.private == run.private:
            return _Entry(run, known.told, known.changed, known.hidden)
        return _Entry(run, about, self._version, self._version if run.private and not known.run.private else known.hidden)

    def all(self, visitor: Visitor) -> list[dict]:
        """All that the visitor may see."""
        with self._lock:
            return [_of(entry, visitor) for entry in self._entries.values() if visitor.may_see(entry.run)]

    def since(self, visitor: Visitor, version: str) -> dict:
        """What has changed for the visitor since that version; `whole` where it is all, because the version is not known."""
        with self._lock:
            at = self._number(version)
            changed = [entry for entry in self._entries.values() if at is None or entry.changed > at]
            answer = {"version": f"{self._epoch}-{self._version}", "whole": at is None}
            answer["runs"] = [_of(entry, visitor) for entry in changed if visitor.may_see(entry.run)]
            deleted = [entry for when, entry in self._gone.values() if at is not None and when > at]
            gone = [entry.run.id for entry in deleted if visitor.may_see(entry.run) or entry.hidden > (at or 0)]
            gone += [entry.run.id for entry in changed if at is not None and entry.hidden > at and not visitor.may_see(entry.run)]
            return answer | {"gone": gone}

    def _number(self, version: str) -> int | None:
        epoch, _, number = version.partition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdigit() and len(number) < 16):
            return None
        return int(number) if self._forgotten <= int(number) <= self._version else None


def _of(entry: _Entry, visitor: Visitor) -> dict:
    return entry.told | {"mine": visitor.is_owner_of(entry.run)}

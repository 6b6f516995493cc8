"""Whether there is room for one more run: in the queue, in one person's or one address's part of it, on the disk, and in memory.

Decides only; it starts and stops nothing. From which addresses people come is kept in memory, never on the disk.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from playground.config import estimate
from playground.config.run import CompleteRun
from playground.config.settings import Settings
from playground.runs import disk, store
from playground.runs.access import Visitor
from playground.runs.store import Run, Store, run_lock
from playground.system import memory
from playground.system.files import megabytes
from playground.workers import pulse

NEW_FOR_S = 3600.0
MOST_ADDRESSES = 10_000


class CannotDo(RuntimeError):
    """This cannot be done, at least not now; the message says what can be done instead."""

    code = "cannot_do"


class WrongState(CannotDo):
    """The run's state does not allow this."""

    code = "wrong_state"


class QueueFull(CannotDo):
    """Too many runs wait already, in all or of this person; or too many new people come from this address."""

    code = "queue_full"


class NoRoom(CannotDo):
    """The disk, or this person's share of it, is full."""

    code = "disk_full"


class NoMemory(CannotDo):
    """The run would need more memory than there is beside those that train."""

    code = "no_memory"


class NotReady(CannotDo):
    """The data of a run are still being fetched or prepared."""

    code = "underway"


class Addresses:
    """From which address each owner of a run came last, and when people were new there."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._of: dict[str, str] = {}
        self._new: dict[str, deque[float]] = {}

    def of(self, owner: str) -> str:
        """Empty where it is not known, as of programs on the command line and of everybody before this app started."""
        with self._lock:
            return self._of.get(owner, "")

    def note(self, visitor: Visitor, is_new: bool) -> None:
        """Note that this visitor has queued a run, which may be their first."""
        if not visitor.address or visitor.is_host:
            return
        with self._lock:
            self._of.pop(visitor.id, None)
            self._of[visitor.id] = visitor.address
            if is_new:
                self._new.setdefault(visitor.address, deque()).append(self._clock())
            for kept in (self._of, self._new):
                while len(kept) > MOST_ADDRESSES:
                    del kept[next(iter(kept))]

    def n_new(self, address: str) -> int:
        """How many people were new at this address in the last hour."""
        with self._lock:
            times = self._new.get(address, deque())
            while times and self._clock() - times[0] > NEW_FOR_S:
                times.popleft()
            return len(times)


class Admission:
    """Asked before a run is queued, resumed or started; every method but `note` raises one of the refusals above or returns."""

    def __init__(self, db: Store, scale: disk.Scale, addresses: Addresses | None = None):
        self.db, self.scale, self.addresses = db, scale, addresses or Addresses()

    def check_queue(self, visitor: Visitor, settings: Settings) -> None:
        """Raises QueueFull."""
        queued, each = self.db.runs_in([store.QUEUED]), settings.max_queued_each
        if self._taken(queued, visitor, settings) >= settings.max_queued:
            limit = f"this playground's limit is {settings.max_queued}"
            raise QueueFull(f"{len(queued)} runs are waiting already, and {limit}; try again when one has started")
        if visitor.is_host:
            return
        mine = sum(run.owner == visitor.id for run in queued)
        if each is not None and mine >= each:
            raise QueueFull(f"{mine} of your runs are waiting already, and everybody may have {each}; try again when one has started")
        self._check_new(visitor, settings)

    def _taken(self, queued: Iterable[Run], visitor: Visitor, settings: Settings) -> int:
        """How many places in the queue are taken for this visitor: of each other address at most its part counts, so that one address
        may fill the queue, and still keeps nobody elsewhere out. The host is at no address."""
        here = "" if visitor.is_host else visitor.address or self.addresses.of(visitor.id)
        waiting = Counter(self.addresses.of(run.owner) for run in queued)
        return sum(n if address in ("", here) else min(n, settings.queued_address) for address, n in waiting.items())

    def _check_new(self, visitor: Visitor, settings: Settings) -> None:
        most = settings.max_new_address
        if most is None or visitor.is_host or not visitor.address or not self._is_new(visitor):
            return
        if self.addresses.n_new(visitor.address) >= most:
            limit = f"this playground's limit is {most}"
            raise QueueFull(f"{most} new people came from your network address within an hour, and {limit}; ask its host to raise it")

    def note(self, visitor: Visitor) -> None:
        """Note that this visitor is about to queue a run."""
        self.addresses.note(visitor, self._is_new(visitor))

    def _is_new(self, visitor: Visitor) -> bool:
        return not self.addresses.of(visitor.id) and not self.db.has_runs_of(visitor.id)

    def check_disk(self, visitor: Visitor, settings: Settings, more: int = 0) -> None:
        """`more`: bytes of what the visitor brings now. Raises NoRoom."""
        usage = self.scale.usage()
        if usage.free < disk.RESERVE_BYTES:
            raise NoRoom(f"the disk has only {megabytes(usage.free)} left; delete runs that are no longer needed")
        if usage.total > usage.most(settings):
            limit = megabytes(usage.most(settings))
            raise NoRoom(f"all runs together take {megabytes(usage.total)}, and this playground's limit is {limit}; delete some")
        share, mine = usage.share(settings), usage.of(visitor.id, self.db.runs(), self.db.uploads())
        if mine + more > share and not visitor.is_host:
            taken = f"your runs and texts take {megabytes(mine)}" + (f", this one has {megabytes(more)}" if more else "")
            raise NoRoom(f"{taken}, and everybody may have {megabytes(share)}; delete one of them")

    def check_upload(self, visitor: Visitor, settings: Settings, size: int) -> None:
        """Whether this visitor may bring a text of `size` bytes. Raises NoRoom, QueueFull."""
        self.check_disk(visitor, settings, size)
        self._check_new(visitor, settings)
        self.note(visitor)

    def check_memory(self, config: CompleteRun | None, settings: Settings) -> None:
        """Raises NoMemory where the run does not fit beside those that train now."""
        left, needed = self.memory(self.db.runs_in(store.ACTIVE), settings), bytes_of(config)
        if left is None or needed <= left.bytes:
            return
        beside = f" beside the {megabytes(left.pledged)} of those that train" if left.pledged else ""
        of = f"all runs together may take {megabytes(left.room)} ({settings.max_memory_percent}% of what is free without them)"
        remedy = "use a smaller batch, context or model" + (", or try again when one has ended" if left.pledged else "")
        raise NoMemory(f"this run needs about {megabytes(needed)} of memory{beside}, and {of}; {remedy}")

    def memory(self, active: Iterable[Run], settings: Settings) -> Memory | None:
        """The memory for one more run beside the active ones; None where the system does not say how much is free. An active run
        counts by its estimate, or by what it really holds where that is more."""
        found, active = memory.of_machine(), list(active)
        if found is None:
            return None
        held = [_held(self.db, run) for run in active]
        pledged = sum(max(taken, bytes_of(run.readable_config, run.device)) for run, taken in zip(active, held, strict=True))
        return Memory((found["available"] + sum(held)) * settings.max_memory_percent // 100, pledged)


@dataclass(frozen=True)
class Memory:
    """In bytes: the `room` of all runs together, and how much of it those that train have been promised."""

    room: int
    pledged: int

    @property
    def bytes(self) -> int:
        """What is left for one more."""
        return self.room - self.pledged


def bytes_of(config: CompleteRun | None, device: str | None = None) -> int:
    """The estimated memory of a run; 0 where it trains in a GPU's, or its config cannot be read."""
    if config is None or not memory.trains_in_it(device or config.train.device):
        return 0
    return estimate.memory_bytes(config)


def _held(db: Store, run: Run) -> int:
    """Bytes that the worker of a run holds; 0 while it is not known which process that is."""
    found = pulse.holder(run_lock(db.root, run.id))
    return 0 if found is None else memory.of_process(found.pid)


def must_have_ended(run: Run) -> None:
    """Raises WrongState for a run that cannot be trained further as a new one."""
    if run.state not in (store.FINISHED, store.STOPPED):
        raise WrongState(f"{run.name!r} is {run.state}; only a finished or stopped run can be trained further")


def at_address(runs: Iterable[Run], addresses: Addresses, address: str) -> list[Run]:
    """The runs whose owners came from this address last."""
    return [run for run in runs if address and addresses.of(run.owner) == address]

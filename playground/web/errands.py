"""Background jobs: work that takes longer than a request may. It runs once, in a thread, and clients poll until it is done.

Requests for the same work share one errand, and wait in line for it with others; turns go round over network addresses, of which none has
all turns at a time, so that whoever asks for little does not wait for those who ask for much. No request waits longer than it says, and
only a few wait at all, because each occupies a thread of the server meanwhile. Knows nothing of what the work is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

PATIENCE_S = 0.6
AT_ONCE, AT_MOST = 2, 60
KEPT_S = 60.0
NEAR = 3 / 4  # of all places, for people at one network address: whole rooms share one, and one person can invent many names
LISTENING = 8  # requests that may wait for an end at the same time; the others are told at once how far the work is


class Report(Protocol):
    """What work says of itself: the part that is done, None if unknown, and in words what it does. Raises Unheard where the work is
    no longer wanted, which ends it."""

    def __call__(self, share: float | None, words: str, /) -> None: ...


@dataclass
class Errand:
    """`share`: the part that is done, None if unknown; `words`: what is being done, for people. `who` began it, at the network address
    `near`."""

    share: float | None = None
    words: str = "waiting for its turn"
    who: Hashable = None
    near: str = ""
    answer: Any = None
    error: Exception | None = None
    begun: bool = False
    listeners: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    asked_at: float = field(default_factory=time.monotonic)
    ended_at: float = float("inf")


class TooManyErrands(OSError):
    """The app has as many errands as it may have, or one person has."""

    code = "busy"


class Underway(Exception):
    """An answer is not ready yet: `share` as of its errand, `place` its place in line, 0 once it is being worked on."""

    code = "underway"

    def __init__(self, share: float | None, words: str, place: int):
        super().__init__(f"{words}; ask again in a moment" if not place else f"number {place} in line; ask again in a moment")
        self.share, self.words, self.place = share, words, place


class Unheard(Exception):
    """Nobody has asked for this work for a while."""

    code = "unheard"


class Errands:
    """The errands of one app: at most `at_once` at work, and at most `at_most` in all, `each` of them begun by one person. One that
    nobody has asked about for `unheard_s` is dropped, or ended at its next report. What was answered is kept for `kept_s`."""

    def __init__(
        self, at_once: int = AT_ONCE, at_most: int = AT_MOST, *, each: int | None = None, unheard_s: float = float("inf"),
        kept_s: float = KEPT_S, noun: str = "data sets are being prepared",
    ):  # fmt: skip
        self.at_most, self.each, self.unheard_s, self.kept_s, self.noun = at_most, each, unheard_s, kept_s, noun
        self._lock = threading.Lock()
        self._turn, self._at_once, self._free, self._n_begun = threading.Condition(self._lock), at_once, at_once, 0
        self._at_work: Counter[str] = Counter()  # by address
        self._served: dict[str, int] = {}  # by address, when one of its errands was begun last: the how many-th of all that was
        self._listening = threading.Semaphore(LISTENING)
        self._running: dict[Hashable, Errand] = {}

    def go(self, key: Hashable, do: Callable[[Report], object], patience_s: float = PATIENCE_S, near: str = "") -> Errand | None:
        """Begin `do(report)`, or join it where it has begun. Returns None if it is done within `patience_s`, else the errand.
        Raises TooManyErrands, also where those at the address `near` have begun too many, and what `do` raised: once, and then a new call
        begins anew."""
        return self._settled(key, self._begun(key, do, None, near), patience_s)

    def answer(
        self, key: Hashable, do: Callable[[Report], Any], who: Hashable = None, near: str = "", patience_s: float = PATIENCE_S
    ) -> Any:  # fmt: skip
        """What `do(report)` returns, begun now or earlier. Raises Underway where it is not there within `patience_s`; TooManyErrands,
        also where `who` has begun as many as one may, or those at the address `near` have; and what `do` raised, as `go`."""
        errand = self._begun(key, do, who, near)
        if not self._ends(errand, patience_s):
            raise Underway(errand.share, errand.words, self._place(errand))
        if errand.error is not None:
            self._drop(key, errand)
            raise errand.error
        return errand.answer

    def about(self, key: Hashable) -> Errand | None:
        """As `go`, for an errand that is running or has just ended; None where there is none."""
        with self._lock:
            errand = self._running.get(key)
        if errand is None:
            return None
        errand.asked_at = time.monotonic()
        return self._settled(key, errand, 0.0)

    def forget(self, key: Hashable) -> None:
        """Drop an errand that has ended but whose end was not fetched, so that the next `go` begins anew."""
        with self._lock:
            if key in self._running and self._running[key].done.is_set():
                del self._running[key]

    def _begun(self, key: Hashable, do: Callable[[Report], object], who: Hashable, near: str) -> Errand:
        with self._lock:
            errand = self._running.get(key)
            if errand is None or time.monotonic() - errand.ended_at > self.kept_s:
                self._running.pop(key, None)
                self._make_room(who, near)
                errand = self._running[key] = Errand(who=who, near=near)
                threading.Thread(target=self._run, args=(key, errand, do), daemon=True).start()
            errand.asked_at = time.monotonic()
        return errand

    def _make_room(self, who: Hashable, near: str) -> None:
        """Drop errands that ended a while ago and whose end was never fetched, or that were answered and are kept."""
        long_ago = time.monotonic() - self.kept_s
        self._running = {key: errand for key, errand in self._running.items() if errand.ended_at > long_ago}
        underway = [errand for errand in self._running.values() if not errand.done.is_set()]
        answered = [key for key, errand in self._running.items() if errand.done.is_set()]
        if len(underway) >= self.at_most:
            raise TooManyErrands(f"{len(underway)} {self.noun} at once; try again in a moment")
        if self.each is not None and sum(errand.who == who for errand in underway) >= self.each:
            raise TooManyErrands(f"{self.each} of your questions are still being answered; try again in a moment")
        if near and sum(errand.near == near for errand in underway) >= NEAR * self.at_most:
            raise TooManyErrands(f"for your network address too many {self.noun} at once; try again in a moment")
        for key in answered[: max(0, len(self._running) - self.at_most + 1)]:
            del self._running[key]

    def _ends(self, errand: Errand, patience_s: float) -> bool:
        """Whether an errand has ended, or ends within `patience_s`. Where too many wait already, this does not wait."""
        if errand.done.is_set() or not self._listening.acquire(blocking=False):
            return errand.done.is_set()
        with self._lock:
            errand.listeners += 1
        try:
            return errand.done.wait(patience_s)
        finally:
            with self._lock:
                errand.listeners, errand.asked_at = errand.listeners - 1, time.monotonic()
            self._listening.release()

    def _place(self, errand: Errand) -> int:
        with self._lock:
            waiting = self._in_turn()
        return waiting.index(errand) + 1 if errand in waiting else 0

    def _in_turn(self) -> list[Errand]:
        """Those that wait, the next to begin first: the address that has waited longest since its last turn, and there who came first."""
        waiting, served, found = [each for each in self._running.values() if not each.begun], dict(self._served), []
        while waiting:
            following = min(waiting, key=lambda each: served.get(each.near, 0))
            served[following.near] = self._n_begun + len(found) + 1
            waiting.remove(following)
            found.append(following)
        return found

    def _begin(self, errand: Errand) -> None:
        """Wait for the turn of an errand."""
        with self._turn:
            while self._following() is not errand:
                self._turn.wait()
            self._free, self._n_begun, errand.begun = self._free - 1, self._n_begun + 1, True
            self._at_work[errand.near] += 1
            self._served[errand.near] = self._n_begun
            self._turn.notify_all()

    def _following(self) -> Errand | None:
        """The errand that may begin now. One turn is left to other addresses by those of one; where addresses are not known, none is."""
        most = max(1, self._at_once - 1)
        fit = (each for each in self._in_turn() if not each.near or self._at_work[each.near] < most)
        return next(fit, None) if self._free else None

    def _give_back(self, errand: Errand) -> None:
        with self._turn:
            self._free += 1
            self._at_work[errand.near] -= 1
            if self._free == self._at_once and all(each.begun for each in self._running.values()):
                self._served.clear()  # all are even
                self._at_work.clear()
            self._turn.notify_all()

    def _drop(self, key: Hashable, errand: Errand) -> None:
        with self._lock:
            if self._running.get(key) is errand:  # another thread that waited may have begun it anew already
                del self._running[key]

    def _settled(self, key: Hashable, errand: Errand, patience_s: float) -> Errand | None:
        if not self._ends(errand, patience_s):
            return errand
        self._drop(key, errand)
        if errand.error is not None:
            raise errand.error
        return None

    def _run(self, key: Hashable, errand: Errand, do: Callable[[Report], object]) -> None:
        def report(share: float | None, words: str) -> None:
            errand.share, errand.words = share, words
            if not errand.listeners and time.monotonic() - errand.asked_at > self.unheard_s:
                raise Unheard(f"nobody has asked for this for {self.unheard_s:g} s; ask again")

        self._begin(errand)
        try:
            report(errand.share, "at work")
            errand.answer = do(report)
        except Exception as error:  # raised again in the thread that asks
            errand.error = error
        finally:
            self._give_back(errand)
            errand.ended_at = time.monotonic()
            if isinstance(errand.error, Unheard):
                self._drop(key, errand)
            errand.done.set()

"""Authorization. Everybody may watch every public run and sample from it; only its owner may steer it; the host may do everything.

The rules stand here only: handlers and routes ask `Access` for the visitor and for the runs that this visitor may see.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from playground.runs.folder import clean_name
from playground.runs.store import NoSuchRun, Run, Store

MAX_PERSON = 40
_KEY = re.compile(r"[A-Za-z0-9_-]{20,100}")


class NotAllowed(PermissionError):
    """The visitor is neither the run's owner nor the host, and only those may do this."""

    code = "not_allowed"


@dataclass(frozen=True)
class Visitor:
    """A person. `id` is the hash of a random secret that only their browser keeps; `is_host`: it keeps the host's token too.
    `address`: the network address that they come from, empty where it is not known."""

    id: str
    is_host: bool = False
    address: str = field(default="", compare=False)

    @classmethod
    def from_key(cls, key: object) -> Visitor:
        """The visitor with this secret; NOBODY where it is malformed."""
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            return NOBODY
        return cls(hashlib.sha256(key.encode()).hexdigest())

    @property
    def is_known(self) -> bool:
        return self.id != NOBODY.id

    def is_owner_of(self, run: Run) -> bool:
        return self.is_known and self.id == run.owner

    def owns(self, run: Run) -> bool:
        """Whether this visitor may steer the run: its owner and the host may."""
        return self.is_host or self.is_owner_of(run)

    def may_see(self, run: Run) -> bool:
        return not run.private or self.owns(run)

    def must_own(self, run: Run) -> None:
        """Raises NotAllowed; NoSuchRun for a private run of somebody else, whose existence stays hidden."""
        if not self.may_see(run):
            raise NoSuchRun(run.id)
        if not self.owns(run):
            raise NotAllowed(f"only the owner of {run.name!r} may do this; you can watch it, sample from it and copy its configuration")

    def must_be_known(self) -> None:
        """Raises NotAllowed for a visitor without a secret, who can own nothing."""
        if not self.is_known:
            raise NotAllowed("your browser sent no owner key; reload the page, or pass the owner_key that /start_run gave you")

    def must_be_host(self) -> None:
        """Raises NotAllowed."""
        if not self.is_host:
            raise NotAllowed("only the host may do this; open the page by the host's link, which the terminal shows at the start")


NOBODY = Visitor("")
HOST = Visitor("host", is_host=True)


class Access:
    """Identifies visitors and the runs they may see. Whoever sends `host_token` is the host; without one nobody is."""

    def __init__(self, db: Store, host_token: str | None = None):
        self.db, self._token, self._guesses = db, host_token, Guesses()

    def visitor(self, kept: object, address: str = "") -> Visitor:
        """From what a browser keeps, `{"key": …, "host": …}`, or what a program sends: its key or the host's token. `address`: where
        the request comes from, empty where that is not known."""
        key, token = (kept.get("key"), kept.get("host")) if isinstance(kept, dict) else (kept, None)
        if self._is_token(key, address):
            return HOST
        visitor = replace(Visitor.from_key(key), address=address)
        if not self._is_token(token, address):
            return visitor
        return replace(visitor, is_host=True) if visitor.is_known else HOST

    def run(self, run_id: str, visitor: Visitor) -> Run:
        """Raises NoSuchRun, also for a private run of somebody else."""
        run = self.db.run(run_id)
        if not visitor.may_see(run):
            raise NoSuchRun(run_id)
        return run

    def runs(self, visitor: Visitor) -> list[Run]:
        """The runs that this visitor may see, newest first."""
        return [run for run in self.db.runs() if visitor.may_see(run)]

    def call(self, visitor: Visitor, name: object) -> str:
        """Set the name under which this visitor's runs are shown, empty for none; returns it as it will be shown."""
        visitor.must_be_known()
        name = clean_name(name, MAX_PERSON)
        self.db.set_name(visitor.id, name)
        return name

    def _is_token(self, text: object, address: str) -> bool:
        """Guesses are slowed down: a text that was not seen from this address before may not be looked at yet, and is no token then."""
        if self._token is None or not isinstance(text, str) or len(text) != len(self._token):
            return False
        if not self._guesses.may_try(address, text):
            return False
        return hmac.compare_digest(text.encode(errors="replace"), self._token.encode())


class Guesses:
    """How many different texts each address has offered as the host's token: the first `AT_ONCE` are looked at, then one every
    `EVERY_S` seconds. What was looked at once costs nothing again, so a page that keeps an old token does not slow its host down."""

    AT_ONCE, EVERY_S = 20, 2.0
    MOST_ADDRESSES, MOST_TEXTS = 1000, 500

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # guesses left, and when that was so
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def may_try(self, address: str, text: str) -> bool:
        known = hashlib.sha256(f"{address}\n{text}".encode(errors="replace")).digest()
        with self._lock:
            if known in self._known:
                self._known.move_to_end(known)
                return True
            now = self._clock()
            left, since = self._left.pop(address, (float(self.AT_ONCE), now))
            left = min(float(self.AT_ONCE), left + (now - since) / self.EVERY_S)
            allowed = left >= 1
            self._left[address] = (left - allowed, now)
            if allowed:
                self._known[known] = None
            for kept, most in ((self._left, self.MOST_ADDRESSES), (self._known, self.MOST_TEXTS)):
                while len(kept) > most:
                    kept.popitem(last=False)
            return allowed


def new_key() -> str:
    """A fresh secret."""
    return secrets.token_urlsafe(24)

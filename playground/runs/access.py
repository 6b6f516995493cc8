"""Authorization. Everybody may watch every public run and sample from it; only its owner may steer it; the host may do everything.

The rules stand here only: handlers and routes ask `Access` for the visitor and for the runs that this visitor may see.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from playground.runs.folder import clean_name
from playground.runs.store import NoSuchRun, Run, Store

MAX_PERSON = 40
_KEY = re.compile(r"[A-Za-z0-9_-]{20,100}")


class NotAllowed(PermissionError):
    """The visitor is neither the run's owner nor the host, and only those may do this."""

    code = "not_allowed"


@dataclass(frozen=True)
class Visitor:
    """A person. `id` is the hash of a random secret that only their browser keeps; `is_host`: it keeps the host's token too."""

    id: str
    is_host: bool = False

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
        self.db, self._token = db, host_token

    def visitor(self, kept: object) -> Visitor:
        """From what a browser keeps, `{"key": …, "host": …}`, or what a program sends: its key or the host's token."""
        key, token = (kept.get("key"), kept.get("host")) if isinstance(kept, dict) else (kept, None)
        if self._is_token(key):
            return HOST
        visitor = Visitor.from_key(key)
        if not self._is_token(token):
            return visitor
        return Visitor(visitor.id, is_host=True) if visitor.is_known else HOST

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

    def _is_token(self, text: object) -> bool:
        if self._token is None or not isinstance(text, str):
            return False
        return hmac.compare_digest(text.encode(errors="replace"), self._token.encode())


def new_key() -> str:
    """A fresh secret."""
    return secrets.token_urlsafe(24)

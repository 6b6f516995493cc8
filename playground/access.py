"""Who may do what. Everybody may look and sample; only a run's owner may steer it."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from playground.store import Run

_KEY = re.compile(r"[A-Za-z0-9_-]{20,100}")


class NotAllowed(PermissionError):
    """Somebody asked for what only a run's owner may do."""


@dataclass(frozen=True)
class Visitor:
    """A person, known by the hash of a random secret that only their browser keeps."""

    id: str

    @classmethod
    def from_key(cls, key: str | None) -> Visitor:
        """The visitor who holds this secret; without a proper one, nobody in particular."""
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            return NOBODY
        return cls(hashlib.sha256(key.encode()).hexdigest())

    def owns(self, run: Run) -> bool:
        return self == HOST or (self != NOBODY and self.id == run.owner)

    def must_own(self, run: Run) -> None:
        """Raises NotAllowed."""
        if not self.owns(run):
            raise NotAllowed(f"only the owner of {run.name!r} may do this; you can watch it, sample from it and copy its configuration")

    def must_be_known(self) -> None:
        """Raises NotAllowed where there is no secret to own anything with."""
        if self == NOBODY:
            raise NotAllowed("your browser sent no owner key; reload the page, or pass the owner_key that /start_run gave you")


NOBODY = Visitor("")
HOST = Visitor("host")


def new_key() -> str:
    """A fresh secret."""
    return secrets.token_urlsafe(24)

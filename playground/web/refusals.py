"""Refusals: the expected errors, which tell people in words and programs by a code why a request was refused.

Each class has its own `code`, which never changes; the words beside it may, from one version to the next.
"""

from __future__ import annotations

from models.knobs import ConfigError
from models.source import NotWritten
from playground.runs.access import NotAllowed
from playground.runs.store import NoSuchExperiment, NoSuchRun, StoreBusy
from playground.system.files import NO_ROOM, NOT_WRITABLE
from playground.training.errors import CheckpointError
from playground.web.computing import Busy
from playground.web.errands import Underway, Unheard
from playground.workers.admission import CannotDo

REFUSALS = (
    ConfigError, NotWritten, NotAllowed, CannotDo, NoSuchRun, NoSuchExperiment, StoreBusy, CheckpointError, Busy, Underway, Unheard,
    OSError,
)  # fmt: skip
SYSTEM, DISK_FULL, READ_ONLY = "system", "disk_full", "read_only"


def code_of(error: BaseException) -> str:
    """The code of a refusal. An error of the system gets one that says whether the disk is full or read-only."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return DISK_FULL
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return READ_ONLY
    code = getattr(error, "code", SYSTEM)
    return code if isinstance(code, str) else SYSTEM

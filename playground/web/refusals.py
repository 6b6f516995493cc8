"""What is refused, to a person in words and to a program by a code: the errors that are answers and no mistakes of ours.

Each class carries its own `code`; what people read beside it may change from one version to the next, the code does not.
"""

from __future__ import annotations

import errno

from models.knobs import ConfigError
from playground.runs.access import NotAllowed
from playground.runs.store import NoSuchRun, StoreBusy
from playground.training.errors import CheckpointError
from playground.web.computing import Busy
from playground.workers.supervisor import CannotDo

REFUSALS = (ConfigError, NotAllowed, CannotDo, NoSuchRun, StoreBusy, CheckpointError, Busy, OSError)
SYSTEM, DISK_FULL, READ_ONLY = "system", "disk_full", "read_only"


def code_of(error: BaseException) -> str:
    """The code of a refusal; of an error of the system one that says whether the disk is full or may not be written."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return READ_ONLY
    code = getattr(error, "code", SYSTEM)
    return code if isinstance(code, str) else SYSTEM

"""What is refused has a code that says what kind of refusal it is, whatever the words."""

import errno
from pathlib import Path

import pytest

from models.knobs import ConfigError, Problem
from models.source import NotWritten
from playground.data.errors import CorpusError
from playground.runs.access import NotAllowed
from playground.runs.store import NoSuchRun, StoreBusy, StoreFull, StoreReadOnly
from playground.training.errors import CheckpointError, NoCheckpointYet
from playground.web.computing import Busy, Superseded
from playground.web.errands import TooManyErrands, Underway, Unheard
from playground.web.refusals import REFUSALS, code_of
from playground.workers.admission import CannotDo, NoMemory, NoRoom, NotReady, QueueFull, WrongState


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([Problem("x", "y")]), "invalid"), (CorpusError("x"), "invalid"), (NotAllowed("x"), "not_allowed"),
        (NoSuchRun("x"), "no_such_run"), (CannotDo("x"), "cannot_do"), (WrongState("x"), "wrong_state"), (QueueFull("x"), "queue_full"),
        (NoMemory("x"), "no_memory"), (NotReady("x"), "underway"), (NotWritten("x", 1, "y"), "not_written"),
        (NoRoom("x"), "disk_full"), (CheckpointError("x"), "no_checkpoint"), (NoCheckpointYet("x"), "no_checkpoint_yet"),
        (Busy("x"), "busy"), (StoreBusy("x"), "busy"), (TooManyErrands("x"), "busy"), (Superseded("x"), "superseded"),
        (Underway(None, "x", 0), "underway"), (Unheard("x"), "unheard"), (StoreFull("x"), "disk_full"),
        (StoreReadOnly(Path("x"), "x"), "read_only"), (OSError(errno.EROFS, "x"), "read_only"),
        (OSError(errno.ENOSPC, "x"), "disk_full"), (OSError(errno.EIO, "x"), "system"), (OSError("x"), "system"),
    ],
)  # fmt: skip
def test_each_has_its_code(error, code):
    assert code_of(error) == code and isinstance(error, REFUSALS)

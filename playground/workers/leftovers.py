"""Cleans up after crashed or killed processes: marks their runs as interrupted and removes their unfinished files."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import NamedTuple

from playground.config.settings import Settings
from playground.runs import store
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.system import files, locks
from playground.training.outcome import Cause
from playground.workers import worker

A_MOMENT_S = 0.4  # for the process of a run that is just starting to take its lock
DELETED = ".deleted.unfinished"


def clear_away(db: Store, root: Path) -> None:
    """Remove what killed processes left unfinished: files, folders of runs that were never added to the store, and runs whose
    deletion had begun."""
    for aside in (root / "runs").glob(f".*{DELETED}"):
        with files.claim(aside) as unclaimed:
            if unclaimed:
                db.delete_run(aside.name[1:].removesuffix(DELETED))
    files.sweep(root)
    for folder in (root / "runs").glob("*"):
        with files.claim(folder) as unclaimed:
            if unclaimed and [path.name for path in folder.glob("*")] == ["config.json"] and not db.knows(folder.name):
                files.remove(folder)


class Death(NamedTuple):
    """How a worker process died: the code of the cause, and words for people."""

    cause: Cause
    words: str


UNKNOWN = Death(Cause.DIED, "its worker process died (when memory runs out, the system kills processes)")


def how_it_died(status: int | None) -> Death:
    """The death that a worker's exit status tells of. Only the app that started the worker has it; None for others."""
    if status is None:
        return UNKNOWN
    if status == -signal.SIGKILL:
        return Death(Cause.KILLED, "its worker process died: it was killed, as the system does when memory runs out")
    if status == worker.NOT_RECORDED:
        return Death(Cause.UNRECORDED, "its worker process ended and could not record why: the disk was full, read-only or locked")
    if status < 0:
        return Death(Cause.DIED, f"its worker process died of {signal.Signals(-status).name}")
    return Death(Cause.DIED, f"its worker process died with status {status}; its log says more")


def mark_dead(db: Store, root: Path, run: Run, died: Death = UNKNOWN) -> bool:
    """Mark a run as interrupted if its worker is gone; returns whether it was."""
    folder = RunFolder(root, run.id)
    if locks.is_locked(folder.lock):
        return False
    saved = max(folder.checkpoint_steps(), default=0)
    reason = f"{died.words}, at step {run.step:,}; resuming goes on from step {saved:,}, the last that was saved"
    if not db.change_state(run.id, store.INTERRUPTED, store.ACTIVE, reason, died.cause):
        return False
    files.sweep(folder.path)
    return True


def mark_dead_runs(db: Store, settings: Settings) -> None:
    """Mark every run whose worker is gone, for when no app does it. A starting run may not have its lock yet: it is left to the app
    if one serves the queue, and otherwise given a moment."""
    for run in db.runs_in([store.RUNNING]):
        mark_dead(db, settings.root, run)
    starting = db.runs_in([store.STARTING])
    if starting and not locks.is_locked(settings.root / store.APP_LOCK):
        time.sleep(A_MOMENT_S)
        for run in starting:
            mark_dead(db, settings.root, run)

"""What processes that died leave behind: runs that nobody trains any more, files that nobody finishes. Found and put in order."""

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

A_MOMENT_S = 0.4  # in which an app sees to what is just starting
DELETED = ".deleted.unfinished"


def clear_away(db: Store, root: Path) -> None:
    """Remove what processes that were killed left unfinished: files, folders of runs of which the store was never told, and runs
    that somebody had begun to delete."""
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
    """How a worker process came to its end: by what cause, and in words."""

    cause: Cause
    words: str


UNKNOWN = Death(Cause.DIED, "its worker process died (when memory runs out, the system kills processes)")


def how_it_died(status: int | None) -> Death:
    """From a worker's exit status, which only the app that started it gets to know."""
    if status is None:
        return UNKNOWN
    if status == -signal.SIGKILL:
        return Death(Cause.KILLED, "its worker process died: it was killed, as the system does when memory runs out")
    if status == worker.UNSAID:
        return Death(Cause.UNRECORDED, "its worker process ended and could not record why: the disk was full, read-only or locked")
    if status < 0:
        return Death(Cause.DIED, f"its worker process died of {signal.Signals(-status).name}")
    return Death(Cause.DIED, f"its worker process died with status {status}; its log says more")


def mark_dead(db: Store, root: Path, run: Run, died: Death = UNKNOWN) -> bool:
    """Turn a run whose worker is gone into an interrupted one; says whether it was."""
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
    """Do so for every run, without an app. One that is about to start may not have its lock yet, and an app sees to it."""
    for run in db.runs_in([store.RUNNING]):
        mark_dead(db, settings.root, run)
    starting = db.runs_in([store.STARTING])
    if starting and not locks.is_locked(settings.root / "supervisor.lock"):
        time.sleep(A_MOMENT_S)
        for run in starting:
            mark_dead(db, settings.root, run)

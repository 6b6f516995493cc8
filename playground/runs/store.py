"""The SQLite database of a root. The only module that uses sqlite3.

A worker writes only the rows of its own run; the app and the command line write the rest. Readers
open the database read-only. Knows nothing of training and pages.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import orjson

from models.knobs import ConfigError, Problem, parse
from playground.config.run import CompleteRun
from playground.system import locks

QUEUED, STARTING, RUNNING, PAUSED = "queued", "starting", "running", "paused"
STOPPED, FINISHED, DIVERGED, INTERRUPTED, FAILED = "stopped", "finished", "diverged", "interrupted", "failed"
ACTIVE = (STARTING, RUNNING)
IN_PROGRESS = (QUEUED, *ACTIVE)
RESUMABLE = (PAUSED, STOPPED, INTERRUPTED, FAILED)

LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
LOCK_WAIT_S = 12.0
DAY_S = 24 * 3600.0
NEEDED_BYTES = 2**16  # for the shared-memory index of the write-ahead log (WAL) and a first page of the log
CREATION_WAIT_S = 2.0
PAUSE_WAIT_S = 60.0  # for the workers of an earlier version to save what they train

MIGRATIONS = (
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, parent TEXT,
        state TEXT NOT NULL, wanted TEXT NOT NULL DEFAULT 'run', reason TEXT NOT NULL DEFAULT '',
        generation INTEGER NOT NULL DEFAULT 0, place INTEGER,
        created_at REAL NOT NULL, started_at REAL, ended_at REAL,
        config TEXT NOT NULL, preset TEXT NOT NULL DEFAULT '', n_params INTEGER NOT NULL,
        threads INTEGER, device TEXT, probe_text TEXT,
        step INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, tokens_per_s REAL,
        train_loss REAL, val_loss REAL, best_val_loss REAL, final_val_loss REAL
    );
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
    );
    CREATE INDEX events_by_run ON events (run_id, id);
    CREATE INDEX runs_by_place ON runs (state, place);
    """,
    # `turn_at` is when a run last began to train; `why` says in words for people why `wanted` is what it is.
    """
    ALTER TABLE runs ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN turn_at REAL;
    ALTER TABLE runs ADD COLUMN why TEXT NOT NULL DEFAULT '';
    UPDATE runs SET turn_at = started_at;
    CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT NOT NULL, named_at REAL NOT NULL);
    CREATE TABLE limits (name TEXT PRIMARY KEY, value INTEGER);
    """,
    # `cause` is the code of what `reason` says in words, `wanted_by` that of `why`. Earlier versions kept only the words.
    """
    ALTER TABLE runs ADD COLUMN cause TEXT NOT NULL DEFAULT '';
    ALTER TABLE runs ADD COLUMN wanted_by TEXT NOT NULL DEFAULT '';
    UPDATE runs SET cause = CASE state
        WHEN 'queued' THEN CASE WHEN reason = '' THEN '' ELSE 'turn' END
        WHEN 'paused' THEN CASE
            WHEN reason LIKE 'paused by the host, with all the others%' THEN 'host_all'
            WHEN reason LIKE 'paused by the host because nobody looked at it%' THEN 'host_idle'
            WHEN reason LIKE 'paused by the host%' THEN 'host'
            WHEN reason LIKE 'paused because nobody has looked at it%' THEN 'idle'
            WHEN reason LIKE 'paused by its owner%' THEN 'owner'
            ELSE '' END
        WHEN 'stopped' THEN CASE
            WHEN reason LIKE 'stopped by the host%' THEN 'host'
            WHEN reason LIKE 'stopped after %' THEN 'time'
            WHEN reason LIKE 'stopped by its owner%' THEN 'owner'
            ELSE '' END
        WHEN 'finished' THEN CASE
            WHEN reason LIKE 'all % steps done' THEN 'steps'
            WHEN reason LIKE '% s of training done' THEN 'seconds'
            ELSE '' END
        WHEN 'diverged' THEN 'diverged'
        WHEN 'interrupted' THEN CASE
            WHEN reason LIKE 'its process was asked to end%' THEN 'signal'
            WHEN reason LIKE 'ended at once from the terminal%' THEN 'signal'
            WHEN reason LIKE 'its worker process died: it was killed%' THEN 'killed'
            WHEN reason LIKE 'its worker process ended and could not record why%' THEN 'unrecorded'
            WHEN reason LIKE 'its worker process hung%' THEN 'hung'
            WHEN reason LIKE 'its worker process did not get to work%' THEN 'not_started'
            ELSE 'died' END
        WHEN 'failed' THEN CASE
            WHEN reason LIKE 'the disk is full%' THEN 'disk_full'
            WHEN reason LIKE 'the folder of the runs %' THEN 'read_only'
            WHEN reason LIKE 'out of memory%' THEN 'memory'
            WHEN reason LIKE 'its worker could not be started%' THEN 'not_started'
            ELSE 'error' END
        ELSE '' END;
    UPDATE runs SET wanted_by = CASE
        WHEN why LIKE 'paused by the host, with all the others%' THEN 'host_all'
        WHEN why LIKE 'paused by the host because nobody looked at it%' THEN 'host_idle'
        WHEN why LIKE '% by the host' THEN 'host'
        WHEN why LIKE 'paused because nobody has looked at it%' THEN 'idle'
        WHEN why LIKE 'stopped after %' THEN 'time'
        WHEN why LIKE 'others wait%' THEN 'turn'
        WHEN why LIKE '% by its owner' THEN 'owner'
        ELSE '' END;
    """,
    # `eval_loss` is on the held-out sample, `val_loss` on the whole held-out split, once at the end.
    """
    ALTER TABLE runs RENAME COLUMN val_loss TO eval_loss;
    ALTER TABLE runs RENAME COLUMN best_val_loss TO best_eval_loss;
    ALTER TABLE runs RENAME COLUMN final_val_loss TO val_loss;
    """,
    # Texts that people brought: the same text may be several people's.
    """
    CREATE TABLE uploads (owner TEXT NOT NULL, source TEXT NOT NULL, bytes INTEGER NOT NULL, added_at REAL NOT NULL,
        PRIMARY KEY (owner, source));
    """,
    # Runs stay ordinary runs; `members` says which of an experiment's they are.
    """
    CREATE TABLE experiments (id TEXT PRIMARY KEY, owner TEXT NOT NULL, document TEXT NOT NULL, created_at REAL NOT NULL);
    CREATE TABLE members (
        run_id TEXT PRIMARY KEY REFERENCES runs(id), experiment TEXT NOT NULL REFERENCES experiments(id),
        arm TEXT NOT NULL, seed INTEGER NOT NULL, role TEXT NOT NULL
    );
    CREATE INDEX members_by_experiment ON members (experiment);
    """,
    # Who trains an experiment's runs: `run`, the app; `stop`, nobody now; `command`, a command line.
    """
    ALTER TABLE experiments ADD COLUMN wanted TEXT NOT NULL DEFAULT 'command';
    """,
    # The checkpoint of its parent that a run starts from; NULL: the newest.
    """
    ALTER TABLE runs ADD COLUMN parent_step INTEGER;
    """,
)


class NoSuchRun(KeyError):
    """There is no run with this id."""

    code = "no_such_run"

    def __init__(self, run_id: str):
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return f"there is no run {self.run_id[:40]!r}"


class NoSuchExperiment(KeyError):
    """There is no experiment with this id."""

    code = "no_such_experiment"

    def __str__(self) -> str:
        return f"there is no experiment {str(self.args[0])[:40]!r}"


class StoreBusy(RuntimeError):
    """Another process has locked the database for longer than the waiting time."""

    code = "busy"


class StoreFull(OSError):
    """The disk is full. SQLite then cannot even read, because it needs room for files of its own."""

    def __init__(self, error: sqlite3.Error):
        super().__init__(errno.ENOSPC, f"the disk is full ({error})")


class StoreReadOnly(OSError):
    """The database's folder or file system has become read-only."""

    def __init__(self, path: Path, error: sqlite3.Error):
        super().__init__(errno.EROFS, f"{path.parent} is read-only ({error})")


class StoreUnusable(OSError):
    """The file cannot be opened, or is no SQLite database; the message names it."""

    def __init__(self, path: Path, error: sqlite3.Error):
        super().__init__(f"{path}: {error}; check the folder's permissions, or choose another with --root")


class StoreForeign(OSError):
    """The file is a database, but not one that this version of the playground can use; the message names it."""

    def __init__(self, path: Path, why: str):
        super().__init__(f"{path} {why}; move it away, or choose another folder with --root or PLAYGROUND_ROOT")


@dataclass(frozen=True)
class Run:
    """One row of `runs`. Times in seconds since 1970, losses in nats per token, `seconds` of training. Why the `state` is what it
    is: `reason` in words for people, `cause` as a code of `training.outcome.Cause`. Likewise `why` and `wanted_by` for `wanted`."""

    id: str
    name: str
    owner: str
    parent: str | None
    state: str
    wanted: str
    reason: str
    generation: int
    place: int | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    config_json: str
    preset: str
    n_params: int
    threads: int | None
    device: str | None
    probe_text: str | None
    step: int
    seconds: float
    tokens_per_s: float | None
    train_loss: float | None
    eval_loss: float | None
    best_eval_loss: float | None
    val_loss: float | None
    private: bool = False
    turn_at: float | None = None
    why: str = ""
    cause: str = ""
    wanted_by: str = ""
    parent_step: int | None = None

    @property
    def config(self) -> CompleteRun:
        """What it trains. Raises ConfigError where this version cannot read it."""
        config = self.readable_config
        if config is None:
            raise ConfigError([Problem("", f"the config of run {self.id} is damaged, or from another version of the playground")])
        return config

    @property
    def readable_config(self) -> CompleteRun | None:
        """The same, or None: in a list, one run that cannot be read must not stand in the way of the others."""
        return _config(self.config_json)


@lru_cache(maxsize=2000)
def _config(text: str) -> CompleteRun | None:
    try:
        return parse(CompleteRun, json.loads(text))
    except ValueError:  # a ConfigError too
        return None


@dataclass(frozen=True)
class Experiment:
    """One row of `experiments`; `document` is its JSON, `wanted` is run (the app trains it), stop, command, or done (all of its
    runs have ended, and none is trained again)."""

    id: str
    owner: str
    document: str
    created_at: float
    wanted: str = "command"


@dataclass(frozen=True)
class Member:
    """Which of an experiment's runs a run is: its `arm`, its `seed`, and its `role`, compared or tuning."""

    experiment: str
    arm: str
    seed: int
    role: str


@dataclass(frozen=True)
class Row:
    """One recorded event. `id` increases in the order of recording and is never reused."""

    id: int
    step: int
    kind: str
    body: dict


class StorableEvent(Protocol):
    """What `Store.append` needs of an event."""

    kind: str
    step: int

    def to_json(self) -> str: ...


APP_LOCK = "supervisor.lock"  # held by the app that serves a root


def run_lock(root: Path, run_id: str) -> Path:
    """The file that the process that trains a run keeps locked."""
    return root / "runs" / run_id / "lock"


def new_run_id() -> str:
    """Ten characters from a-z and 2-7: safe in addresses, file names and command lines."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(10))


class Store:
    """The database of one root. Connections are opened per use and closed, and nothing is shared between processes; whoever reads
    often keeps them (`held_open`), each used by one thread at a time."""

    def __init__(self, root: Path):
        self.root, self.path = root, root / "playground.db"
        self._readers: Readers | None = None

    def create(self) -> None:
        """Make the database, or bring an older one up to date. Safe to call from several processes.

        A process of an earlier version may not be able to read a database of this one: its app must have ended, and what its workers
        train is paused before and queued after. Raises OSError where there can be no database, StoreBusy where they don't end.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._usable(), self._connect() as db:
            self._check_ours(db)
            _switch_to_wal(db)
            paused = self._pause_earlier_workers(db) if 0 < _version(db) < len(MIGRATIONS) else []
            db.execute("BEGIN IMMEDIATE")
            for number, script in enumerate(MIGRATIONS[_version(db) :], start=_version(db) + 1):
                for statement in filter(str.strip, script.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={number}")
            db.executemany(f"UPDATE runs SET {_ENQUEUE} WHERE id=? AND state='paused'", [(run_id,) for run_id in paused])
            db.execute("COMMIT")

    def _check_ours(self, db: sqlite3.Connection) -> None:
        """Raises StoreForeign, before anything is changed, where the file is not this program's or of a later version of it."""
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        if tables and not {"runs", "events"} <= tables:
            raise StoreForeign(self.path, "is a database of another program")
        if (version := _version(db)) > len(MIGRATIONS):
            raise StoreForeign(
                self.path, f"was made by a later version of the playground (format {version}, this one has {len(MIGRATIONS)})"
            )

    def _pause_earlier_workers(self, db: sqlite3.Connection) -> list[str]:
        """Let the workers that train now save their runs and end; returns the ids of those that were to go on."""
        if locks.is_locked(self.root / APP_LOCK):
            raise StoreBusy("the app of an earlier version still serves this folder; end it, then start this one")
        active = db.execute("SELECT id, wanted FROM runs WHERE state IN ('starting', 'running')").fetchall()
        training = {run_id: wanted for run_id, wanted in active if locks.is_locked(run_lock(self.root, run_id))}
        to_go_on = [run_id for run_id, wanted in training.items() if wanted in ("run", "yield")]
        db.executemany("UPDATE runs SET wanted='pause' WHERE id=?", [(run_id,) for run_id in to_go_on])
        deadline = time.monotonic() + PAUSE_WAIT_S
        while left := [run_id for run_id in training if locks.is_locked(run_lock(self.root, run_id))]:
            if time.monotonic() > deadline:
                raise StoreBusy(f"run {left[0]} is trained by an earlier version, and did not pause within {PAUSE_WAIT_S:g} s; try again")
            time.sleep(0.05)
        return to_go_on

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Hold a connection open, which keeps the write-ahead log (WAL) from being checkpointed on close: whoever closes the last
        connection writes the log back and deletes it, and the next one has to make it again. Those that this store reads by are kept
        meanwhile: opening one and reading the tables' definitions takes longer than most answers."""
        with self._usable(), self._connect() as db:
            db.execute("SELECT 1 FROM runs LIMIT 1").fetchone()
            # Without the log a reader must be new: it may have to play back the journal of a crash first.
            readers = self._readers = Readers(self.path) if db.execute("PRAGMA journal_mode").fetchone()[0] == "wal" else None
            try:
                yield
            finally:
                self._readers = None
                if readers is not None:
                    readers.close()

    # Readers.

    def run(self, run_id: str) -> Run:
        """Raises NoSuchRun, also for an id that cannot be encoded as UTF-8."""
        try:
            run_id.encode()
        except UnicodeEncodeError:
            raise NoSuchRun(run_id) from None
        with self._reading() as db:
            row = db.execute("SELECT * FROM runs WHERE id=?", (run_id,)).fetchone()
        if row is None:
            raise NoSuchRun(run_id)
        return _run(row)

    def knows(self, run_id: str) -> bool:
        with self._reading() as db:
            return db.execute("SELECT 1 FROM runs WHERE id=?", (run_id,)).fetchone() is not None

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        with self._reading() as db:
            return [_run(row) for row in db.execute("SELECT * FROM runs ORDER BY created_at DESC, rowid DESC")]

    def runs_of(self, experiment_id: str) -> list[Run]:
        """The runs of an experiment, in the order in which they were added."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT runs.* FROM runs JOIN members ON members.run_id = runs.id WHERE members.experiment=? ORDER BY members.rowid",
                (experiment_id,),
            )
            return [_run(row) for row in rows]

    def runs_in(self, states: Iterable[str], wait_s: float = LOCK_WAIT_S) -> list[Run]:
        """Runs in any of these states, in queue order. Raises StoreBusy after `wait_s`."""
        states = tuple(states)
        marks = ",".join("?" * len(states))
        with self._reading(wait_s) as db:
            rows = db.execute(f"SELECT * FROM runs WHERE state IN ({marks}) ORDER BY place, created_at", states)
            return [_run(row) for row in rows]

    def last_starts(self) -> dict[str, float]:
        """By owner, when one of their runs last began to train."""
        with self._reading() as db:
            return dict(db.execute("SELECT owner, max(turn_at) FROM runs WHERE turn_at IS NOT NULL GROUP BY owner").fetchall())

    def experiment(self, experiment_id: str) -> Experiment:
        """Raises NoSuchExperiment."""
        with self._reading() as db:
            row = db.execute("SELECT id, owner, document, created_at, wanted FROM experiments WHERE id=?", (experiment_id,)).fetchone()
        if row is None:
            raise NoSuchExperiment(experiment_id)
        return Experiment(*row)

    def experiments(self) -> list[Experiment]:
        """All experiments, newest first."""
        with self._reading() as db:
            rows = db.execute("SELECT id, owner, document, created_at, wanted FROM experiments ORDER BY created_at DESC, rowid DESC")
            return [Experiment(*row) for row in rows]

    def members(self, experiment_id: str | None = None) -> dict[str, Member]:
        """The runs of an experiment (of all) by their ids, in the order in which they were added."""
        which, of = ("", ()) if experiment_id is None else ("WHERE experiment=?", (experiment_id,))
        with self._reading() as db:
            rows = db.execute(f"SELECT run_id, experiment, arm, seed, role FROM members {which} ORDER BY rowid", of)
            return {run_id: Member(*row) for run_id, *row in rows}

    def uploads(self) -> dict[str, dict[str, int]]:
        """The texts that people brought: by owner, the bytes of each source."""
        found: dict[str, dict[str, int]] = {}
        with self._reading() as db:
            for owner, source, size in db.execute("SELECT owner, source, bytes FROM uploads ORDER BY added_at"):
                found.setdefault(owner, {})[source] = size
        return found

    def owners_of_upload(self, source: str) -> list[str]:
        with self._reading() as db:
            return [row[0] for row in db.execute("SELECT owner FROM uploads WHERE source=?", (source,))]

    def has_runs_of(self, owner: str) -> bool:
        with self._reading() as db:
            return db.execute("SELECT 1 FROM runs WHERE owner=? LIMIT 1", (owner,)).fetchone() is not None

    def names(self) -> dict[str, str]:
        """What people want to be called, by owner."""
        with self._reading() as db:
            return dict(db.execute("SELECT id, name FROM people").fetchall())

    def limits(self) -> dict[str, int | None]:
        """The limits that were changed since the start, by name; None for no limit."""
        with self._reading() as db:
            return dict(db.execute("SELECT name, value FROM limits").fetchall())

    def events(self, run_id: str, after: int = 0, kinds: Iterable[str] = (), limit: int = -1) -> list[Row]:
        """Events of a run with an id beyond `after`, oldest first."""
        kinds = tuple(kinds)
        only = f"AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
        with self._reading() as db:
            rows = db.execute(
                f"SELECT id, step, kind, body FROM events WHERE run_id=? AND id>? {only} ORDER BY id LIMIT ?",
                (run_id, after, *kinds, limit),
            )
            return [Row(id, step, kind, _body(text)) for id, step, kind, text in rows]

    def count_events(self, run_id: str) -> int:
        """How many events of all kinds a run has."""
        with self._reading() as db:
            return db.execute("SELECT count(*) FROM events WHERE run_id=?", (run_id,)).fetchone()[0]

    def integrity(self) -> list[str]:
        """The damage that SQLite's integrity check finds; empty where there is none."""
        try:
            with self._reading() as db:
                return [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        except StoreUnusable as error:  # so damaged that it cannot even be checked
            return [str(error)]

    # The app and the command line.

    def add_run(
        self, run_id: str, *, name: str, owner: str, config: str, n_params: int, state: str,
        preset: str = "", parent: str | None = None, private: bool = False, member: Member | None = None, threads: int | None = None,
        parent_step: int | None = None,
    ) -> None:  # fmt: skip
        """Insert a run at the end of the queue, as a member of an experiment where it is one; `threads` are chosen at its start where
        they are None."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO runs (id, name, owner, parent, state, created_at, config, preset, n_params, private, threads, parent_step,"
                " place) VALUES (?,?,?,?,?,?,?,?,?,?,?,?, (SELECT coalesce(max(place), 0) + 1 FROM runs))",
                (run_id, name, owner, parent, state, _now(db), config, preset, n_params, private, threads, parent_step),
            )
            if member is not None:
                row = run_id, member.experiment, member.arm, member.seed, member.role
                db.execute("INSERT INTO members (run_id, experiment, arm, seed, role) VALUES (?,?,?,?,?)", row)

    def add_experiment(self, experiment_id: str, *, owner: str, document: str, wanted: str = "command") -> None:
        with self._writing() as db:
            row = experiment_id, owner, document, _now(db), wanted
            db.execute("INSERT INTO experiments (id, owner, document, created_at, wanted) VALUES (?,?,?,?,?)", row)

    def experiment_of(self, run_id: str) -> str | None:
        """The experiment that a run is a member of."""
        with self._reading() as db:
            row = db.execute("SELECT experiment FROM members WHERE run_id=?", (run_id,)).fetchone()
        return None if row is None else row[0]

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget an experiment; its runs stay ordinary runs."""
        with self._writing() as db:
            db.execute("DELETE FROM members WHERE experiment=?", (experiment_id,))
            db.execute("DELETE FROM experiments WHERE id=?", (experiment_id,))

    def want_experiment(self, experiment_id: str, wanted: str) -> None:
        with self._writing() as db:
            db.execute("UPDATE experiments SET wanted=? WHERE id=?", (wanted, experiment_id))

    def rename(self, run_id: str, name: str) -> None:
        self._update(run_id, name=name)

    def set_private(self, run_id: str, private: bool) -> None:
        self._update(run_id, private=private)

    def want(self, run_id: str, wanted: str, why: str = "", by: str = "") -> bool:
        """Set what the run's worker is to do (run, pause, stop), and why: in words and as the code of a cause.

        Only if it has a worker; says whether it has.
        """
        with self._writing() as db:
            done = db.execute(
                f"UPDATE runs SET wanted=?, why=?, wanted_by=? WHERE id=? AND state IN ({','.join('?' * len(ACTIVE))})",
                (wanted, why, by, run_id, *ACTIVE),
            )
            return done.rowcount == 1

    def want_if_free(self, run_id: str, wanted: str, why: str, by: str) -> bool:
        """As `want`, also with yield, but only if the run trains and nothing else is wanted of it; says whether that was so."""
        with self._writing() as db:
            done = db.execute(
                "UPDATE runs SET wanted=?, why=?, wanted_by=? WHERE id=? AND wanted='run' AND state=?",
                (wanted, why, by, run_id, RUNNING),
            )
            return done.rowcount == 1

    def set_name(self, person: str, name: str) -> None:
        """Set the name of a person, identified as the owner of their runs; an empty one removes it. Names are kept for ever."""
        with self._writing() as db:
            if name:
                db.execute("INSERT OR REPLACE INTO people (id, name, named_at) VALUES (?,?,?)", (person, name, time.time()))
            else:
                db.execute("DELETE FROM people WHERE id=?", (person,))

    def add_upload(self, owner: str, source: str, size: int) -> None:
        with self._writing() as db:
            row = owner, source, size, time.time()
            db.execute("INSERT OR IGNORE INTO uploads (owner, source, bytes, added_at) VALUES (?,?,?,?)", row)

    def drop_upload(self, source: str, owner: str | None = None) -> None:
        """Forget that a text is this owner's, or anybody's."""
        with self._writing() as db:
            db.execute("DELETE FROM uploads WHERE source=? AND (? IS NULL OR owner=?)", (source, owner, owner))

    def set_limit(self, name: str, value: int | None) -> None:
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO limits (name, value) VALUES (?,?)", (name, value))

    def set_probe_text(self, run_id: str, text: str) -> None:
        self._update(run_id, probe_text=text)

    def enqueue(self, run_id: str, from_states: Iterable[str]) -> bool:
        """Put a run at the end of the queue if it is in one of these states; says whether it was."""
        states = tuple(from_states)
        with self._writing() as db:
            done = db.execute(
                f"UPDATE runs SET {_ENQUEUE} WHERE id=? AND state IN ({','.join('?' * len(states))})",
                (run_id, *states),
            )
            return done.rowcount == 1

    def yield_turn(self, run_id: str, reason: str, cause: str, *, step: int, seconds: float) -> None:
        """Put a run that its worker has saved back at the end of the queue. A pause or stop asked for meanwhile stays in force."""
        with self._writing() as db:
            db.execute(
                "UPDATE runs SET state='queued', reason=?, cause=?, step=?, seconds=?, ended_at=NULL,"
                " place=(SELECT coalesce(max(place), 0) + 1 FROM runs),"
                " wanted=CASE wanted WHEN 'yield' THEN 'run' ELSE wanted END WHERE id=? AND state IN ('starting', 'running')",
                (reason, cause, step, seconds, run_id),
            )

    def change_state(self, run_id: str, state: str, from_states: Iterable[str], reason: str = "", cause: str = "", **values: Any) -> bool:
        """Move a run to a state if it is still in one of these; says whether it was."""
        states = tuple(from_states)
        with self._writing() as db:
            ended = {} if state in IN_PROGRESS else {"ended_at": _now(db)}
            fields = {"state": state, "reason": reason, "cause": cause, **values, **ended}
            done = db.execute(
                f"UPDATE runs SET {_assignments(fields)} WHERE id=? AND state IN ({','.join('?' * len(states))})",
                (*fields.values(), run_id, *states),
            )
            return done.rowcount == 1

    def delete_run(self, run_id: str) -> None:
        """Forget a run and its events."""
        with self._writing() as db:
            db.execute("DELETE FROM events WHERE run_id=?", (run_id,))
            db.execute("DELETE FROM members WHERE run_id=?", (run_id,))
            db.execute("UPDATE runs SET parent=NULL WHERE parent=?", (run_id,))
            db.execute("DELETE FROM runs WHERE id=?", (run_id,))

    # A worker, for its own run.

    def begin(self, run_id: str, *, step: int, threads: int, device: str, probe_text: str) -> None:
        """Mark the run as running: drop the events beyond `step`, from where it resumes, and raise the generation."""
        with self._writing() as db:
            db.execute("DELETE FROM events WHERE run_id=? AND step>?", (run_id, step))
            db.execute(
                "UPDATE runs SET state='running', reason='', cause='', generation=generation+1, step=?, threads=?, device=?,"
                " started_at=coalesce(started_at, ?), turn_at=?, ended_at=NULL, probe_text=coalesce(probe_text, ?),"
                " eval_loss=?, best_eval_loss=?, val_loss=NULL WHERE id=?",
                (step, threads, device, now := _now(db), now, probe_text, *_validations(db, run_id), run_id),
            )

    def append(self, run_id: str, events: Iterable[StorableEvent], progress: dict[str, Any], wait_s: float = LOCK_WAIT_S) -> None:
        """Record events and the run's newest figures in one transaction; raises StoreBusy."""
        with self._writing(wait_s) as db:
            db.executemany(
                "INSERT INTO events (run_id, step, kind, body) VALUES (?,?,?,?)",
                [(run_id, event.step, event.kind, event.to_json()) for event in events],
            )
            if progress:
                db.execute(f"UPDATE runs SET {_assignments(progress)} WHERE id=?", (*map(_encode, progress.values()), run_id))

    # Plumbing.

    def _update(self, run_id: str, **fields: Any) -> None:
        with self._writing() as db:
            if not db.execute(f"UPDATE runs SET {_assignments(fields)} WHERE id=?", (*fields.values(), run_id)).rowcount:
                raise NoSuchRun(run_id)

    @contextmanager
    def _connect(self, wait_s: float = LOCK_WAIT_S, uri: str | None = None) -> Iterator[sqlite3.Connection]:
        db = _open(uri or self.path, wait_s)
        try:
            # Readers do not need this setting, and it fails while a rollback journal of a crash is still to be played back.
            if "?mode=ro" not in (uri or ""):
                db.execute("PRAGMA synchronous=NORMAL")
            yield db
        finally:
            db.close()

    @contextmanager
    def _writing(self, wait_s: float = LOCK_WAIT_S) -> Iterator[sqlite3.Connection]:
        """One short transaction that waits at most `wait_s` for its turn, on a database brought up to date. Raises StoreBusy, OSError."""
        with self._usable(), self._connect(wait_s) as db:
            if _version(db) < len(MIGRATIONS):
                self.create()
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is(error, *LOCKED):
                    raise
                raise StoreBusy(f"the database has been locked for {wait_s:g} s ({error})") from error
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Translate SQLite's errors into those of this module."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if _is(error, *LOCKED):
                raise StoreBusy(f"the database is locked ({error})") from error
            # Without room for its own files SQLite reports an I/O error or a file that cannot be opened: the file system is asked too.
            free_bytes, read_only = _room(self.path.parent)
            if _is(error, sqlite3.SQLITE_FULL) or free_bytes < NEEDED_BYTES:
                raise StoreFull(error) from error
            if _is(error, sqlite3.SQLITE_READONLY) or read_only:
                raise StoreReadOnly(self.path, error) from error
            if str(error).startswith(("no such table", "no such column")):
                raise StoreForeign(self.path, "holds no runs: it is empty, or not a database of this version of the playground") from error
            raise StoreUnusable(self.path, error) from error

    @contextmanager
    def _reading(self, wait_s: float = LOCK_WAIT_S) -> Iterator[sqlite3.Connection]:
        if (readers := self._readers) is not None:
            with self._usable(), readers.one(wait_s) as db:
                yield db
            return
        where = self.path.absolute().as_uri()
        with self._usable(), self._connect(wait_s, f"{where}?mode=ro") as db:
            try:
                _wait_for_tables(db)
            except sqlite3.OperationalError as error:
                if _is(error, *LOCKED):
                    raise
                # A rollback journal left by a crash must be played back first, which needs a writer.
                with self._connect(wait_s, f"{where}?mode=rw") as writer:
                    _wait_for_tables(writer)
            yield db


class Readers:
    """Connections to read by, kept open and used again, each by one thread at a time. Of a file that was replaced they are opened
    anew; one that has failed is closed."""

    MOST_IDLE = 8

    def __init__(self, path: Path):
        self.path, self._lock, self._closed = path, threading.Lock(), False
        self._idle: list[tuple[tuple, sqlite3.Connection]] = []

    @contextmanager
    def one(self, wait_s: float) -> Iterator[sqlite3.Connection]:
        file, db = self._take()
        try:
            db = db or _open(f"{self.path.absolute().as_uri()}?mode=ro", wait_s)
            db.execute(f"PRAGMA busy_timeout={round(1000 * wait_s)}")
            yield db
        except BaseException:
            if db is not None:
                db.close()
            raise
        self._put(file, db)

    def close(self) -> None:
        """Close those that nobody uses; the others are closed after their use."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop()[1].close()

    def _take(self) -> tuple[tuple, sqlite3.Connection | None]:
        """What the file is now, and a connection to it that nobody uses, if there is one."""
        file = _identity(self.path)
        with self._lock:
            while self._idle:
                kept, db = self._idle.pop()
                if kept == file:
                    return file, db
                db.close()
        return file, None

    def _put(self, file: tuple, db: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < self.MOST_IDLE:
                self._idle.append((file, db))
                return
        db.close()


class Buffer:
    """Buffers a worker's events, so that none is lost while another process locks the database.

    `flush` tries briefly; where the database is busy, it keeps everything for the next call.
    """

    def __init__(self, store: Store, run_id: str):
        self.store, self.run_id = store, run_id
        self.waiting: deque[StorableEvent] = deque()
        self.progress: dict[str, Any] = {}

    def add(self, event: StorableEvent, **progress: Any) -> None:
        self.waiting.append(event)
        self.progress |= progress

    def flush(self, wait_s: float = 0.05) -> bool:
        """Says whether everything is recorded now."""
        if not self.waiting:
            return True
        try:
            self.store.append(self.run_id, self.waiting, self.progress, wait_s)
        except StoreBusy:
            return False
        self.waiting.clear()
        self.progress.clear()
        return True


# SQLite turns NaN into NULL: figures that are not finite are kept as text.
_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def _body(text: str) -> dict:
    """The fields of an event. Python's own reader is needed only for those that are not finite, and is several times as slow."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _encode(value: Any) -> Any:
    if isinstance(value, float) and str(value) in _NOT_FINITE:
        return str(value)
    return value


def _open(where: Path | str, wait_s: float) -> sqlite3.Connection:
    """A connection to a path, or to an address with options such as `?mode=ro`. Who shares it sees to it that it has one user."""
    db = sqlite3.connect(where, timeout=wait_s, isolation_level=None, uri=isinstance(where, str), check_same_thread=False)
    db.row_factory = sqlite3.Row
    return db


def _identity(path: Path) -> tuple:
    """Tells a file from another one that takes its place; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino


def _room(folder: Path) -> tuple[int, bool]:
    """Free bytes of a file system, and whether it is read-only."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return NEEDED_BYTES, False
    return found.f_bavail * found.f_frsize, bool(found.f_flag & os.ST_RDONLY)


def _now(db: sqlite3.Connection) -> float:
    """The time in seconds since 1970, but never earlier than the newest recorded one: if the clock was set back, later events
    still sort later, in lists and in the queue. A recorded time more than a day ahead is ignored."""
    newest = "max(coalesce(max(created_at), 0), coalesce(max(started_at), 0), coalesce(max(ended_at), 0))"
    now, recorded = time.time(), db.execute(f"SELECT {newest} FROM runs").fetchone()[0]
    return recorded + 0.001 if now <= recorded < now + DAY_S else now


def _validations(db: sqlite3.Connection, run_id: str) -> tuple[Any, Any]:
    """The last and the best recorded held-out loss; the final validation on the whole split does not count."""
    rows = db.execute("SELECT body FROM events WHERE run_id=? AND kind='validation' ORDER BY id", (run_id,))
    losses = [body["loss"] for body in (json.loads(row["body"]) for row in rows) if not body["whole"]]
    best = min((loss for loss in losses if loss == loss), default=float("nan"))
    return (_encode(losses[-1]), _encode(best)) if losses else (None, None)


def _is(error: sqlite3.Error, *codes: int) -> bool:
    """Whether an error has one of these primary result codes of SQLite; errors that Python itself raises have none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _switch_to_wal(db: sqlite3.Connection) -> None:
    """Turn on write-ahead logging. On a file system without support for it SQLite keeps its old journal mode and raises nothing.
    SQLite does not wait by itself while another process switches, hence the loop."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is(error, *LOCKED) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _wait_for_tables(db: sqlite3.Connection) -> None:
    """Wait for the tables: while another process creates the database, the file exists a moment before they do."""
    deadline = time.monotonic() + CREATION_WAIT_S
    while db.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name='runs'").fetchone() is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    db.execute("SELECT 1 FROM runs LIMIT 1")


def _version(db: sqlite3.Connection) -> int:
    """The number of migrations that a database has had."""
    return db.execute("PRAGMA user_version").fetchone()[0]


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    """Of a database that is not yet brought up to date, with the columns' names of today."""
    if "final_val_loss" not in row:
        return row
    losses = {"eval_loss": row.pop("val_loss"), "best_eval_loss": row.pop("best_val_loss"), "val_loss": row.pop("final_val_loss")}
    return row | losses


def _run(row: sqlite3.Row) -> Run:
    """Of a row that an earlier version wrote, or a later one: missing columns have their defaults, unknown ones are ignored."""
    fields = {name: value for name, value in _renamed(dict(row)).items() if name in _COLUMNS}
    for name in ("train_loss", "eval_loss", "best_eval_loss", "val_loss", "tokens_per_s"):
        if isinstance(fields[name], str):
            fields[name] = _NOT_FINITE[fields[name]]
    return Run(**{**fields, "config_json": row["config"], "private": bool(fields.get("private"))})


_COLUMNS = {field.name for field in fields(Run)}


# Puts a run at the end of the queue.
_ENQUEUE = (
    "state='queued', wanted='run', why='', wanted_by='', reason='', cause='', ended_at=NULL,"
    " place=(SELECT coalesce(max(place), 0) + 1 FROM runs)"
)


def _assignments(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name}=?" for name in fields)

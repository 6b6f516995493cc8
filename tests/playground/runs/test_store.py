"""The database: shared by processes, read-only for readers, nothing lost and nothing used twice."""

import json
import math
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from models.knobs import ConfigError
from playground.config.run import RunConfig, complete
from playground.runs import store
from playground.runs.store import Buffer, Member, NoSuchExperiment, NoSuchRun, Store, StoreBusy, StoreFull, StoreUnusable
from playground.system.files import REPOSITORY
from playground.training.events import Notice, Progress, Validation, from_json
from tests.patience import LONGEST_S

ID = "abcdefghij"


def progress(step, loss=1.0):
    return Progress(step, tokens=step, seconds=float(step), loss=loss, grad_norm=1.0, lr=0.1, tokens_per_s=10.0)


def add(db, run_id=ID, **values):
    db.add_run(run_id, **{"name": "a run", "owner": "somebody", "config": "{}", "n_params": 7, "state": store.QUEUED} | values)


@pytest.fixture
def db(tmp_path):
    db = Store(tmp_path)
    db.create()
    add(db)
    return db


@pytest.fixture
def outside(run_python):
    """A process of its own that runs a script and ends with the test."""
    started = []

    def start(script, *arguments):
        process = run_python("-c", script, *map(str, arguments))
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def schema_version(path):
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA user_version").fetchone()[0]
    finally:
        db.close()


def test_many_processes_create_one_database(tmp_path, outside):
    script = "import sys; from pathlib import Path; from playground.runs.store import Store; input(); Store(Path(sys.argv[1])).create()"
    processes = [outside(script, tmp_path / "root") for _ in range(6)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [(process.wait(LONGEST_S), process.stderr.read()) for process in processes] == [(0, "")] * 6
    assert schema_version(tmp_path / "root" / "playground.db") == len(store.MIGRATIONS)
    assert Store(tmp_path / "root").runs() == []


def test_creating_again_changes_nothing(db):
    before = db.path.read_bytes(), db.runs()
    db.create()
    assert schema_version(db.path) == len(store.MIGRATIONS)
    assert db.runs() == before[1]


def test_an_experiment_knows_its_runs_until_they_are_deleted(db):
    db.add_experiment("eeeeeeeeee", owner="somebody", document='{"title": "t"}')
    kept = db.experiment("eeeeeeeeee")
    assert (kept.owner, kept.document) == ("somebody", '{"title": "t"}') and db.experiments() == [kept]
    members = {f"run{i}": Member("eeeeeeeeee", arm, i, "compared") for i, arm in enumerate(("pre", "post", "pre"))}
    for run_id, member in members.items():
        add(db, run_id, member=member)
    assert db.members("eeeeeeeeee") == members and list(db.members("eeeeeeeeee")) == list(members)
    db.delete_run("run1")
    assert list(db.members("eeeeeeeeee")) == ["run0", "run2"] and db.members("ffffffffff") == {}
    with pytest.raises(NoSuchExperiment, match="there is no experiment 'ffffffffff'"):
        db.experiment("ffffffffff")


def test_a_run_has_an_owner_and_a_place(db):
    add(db, "bbbbbbbbbb", owner="another")
    first, second = db.run(ID), db.run("bbbbbbbbbb")
    assert (first.owner, second.owner) == ("somebody", "another")
    assert first.place < second.place
    assert [run.id for run in db.runs_in([store.QUEUED])] == [ID, "bbbbbbbbbb"]


def test_the_config_is_read_from_what_was_stored_and_one_that_cannot_be_read_stops_nobody(db):
    config = complete(RunConfig(), 65, None)
    add(db, "aaaaaaaaaa", config=config.model_dump_json())
    assert db.run("aaaaaaaaaa").config == db.run("aaaaaaaaaa").readable_config == config
    for i, stored in enumerate(['{"model": ', "[]", RunConfig().model_dump_json(), config.model_dump_json().replace("n_layer", "n_story")]):
        add(db, f"bbbbbbbbb{'abcd'[i]}", config=stored)
    assert [run.readable_config for run in db.runs()] == [None] * 4 + [config, None]
    with pytest.raises(ConfigError, match="bbbbbbbbba is damaged, or from another version"):
        _ = db.run("bbbbbbbbba").config


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.5])
def test_figures_that_are_not_finite_survive(db, value):
    db.append(ID, [progress(1, loss=value)], {"train_loss": value, "tokens_per_s": value})
    run, (row,) = db.run(ID), db.events(ID)
    for found in (run.train_loss, run.tokens_per_s, from_json(row.kind, row.step, json.dumps(row.body)).loss):
        assert found == value or (math.isnan(found) and math.isnan(value))


def test_readers_cannot_write(db):
    with db._reading() as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM runs")
    assert db.run(ID).id == ID


def test_looking_for_a_database_creates_none(tmp_path):
    with pytest.raises(StoreUnusable, match=r"playground\.db"):
        Store(tmp_path).runs()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "playground.db").write_text("not a database at all, but long enough to have a header" * 100)
    with pytest.raises(StoreUnusable, match=r"playground\.db.*not a database"):
        Store(tmp_path).create()


def test_an_unknown_run(db):
    with pytest.raises(NoSuchRun, match="there is no run 'nosuchrun2'"):
        db.run("nosuchrun2")
    with pytest.raises(NoSuchRun):
        db.rename("nosuchrun2", "x")


HOLD = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
db.execute("COMMIT")
"""


def test_a_lock_of_three_seconds_loses_nothing(db, outside):
    buffer, holder = Buffer(db, ID), outside(HOLD, db.path, 3)
    assert holder.stdout.readline() == "held\n"
    began, refused = time.monotonic(), 0
    for step in range(1, 1000):
        buffer.add(progress(step), step=step)
        if buffer.flush():
            break
        refused += 1
        assert buffer.progress == {"step": step}
    assert time.monotonic() - began > 2
    assert refused > 3
    assert [row.step for row in db.events(ID)] == list(range(1, step + 1))
    assert db.run(ID).step == step
    assert not buffer.waiting
    assert buffer.flush()
    assert len(db.events(ID)) == step


def test_a_writer_waits_for_its_turn_and_says_when_it_gave_up(db, outside):
    holder = outside(HOLD, db.path, 3)
    holder.stdout.readline()
    with pytest.raises(StoreBusy, match=r"0\.1 s"):
        db.append(ID, [progress(1)], {}, wait_s=0.1)
    db.append(ID, [progress(2)], {}, wait_s=20)
    assert [row.step for row in db.events(ID)] == [2]


def test_beginning_again_drops_what_lies_beyond(db):
    validations = [Validation(step, loss=loss, n_tokens=10, whole=False, seconds=0.0) for step, loss in ((1, 3.0), (2, 2.0), (4, 1.0))]
    last = Validation(5, loss=0.5, n_tokens=10, whole=True, seconds=0.0)
    db.append(ID, [*validations, *map(progress, range(1, 6)), last], {"eval_loss": 1.0, "best_eval_loss": 1.0, "val_loss": 0.5})
    newest = db.events(ID)[-1].id
    db.begin(ID, step=3, threads=2, device="cpu", probe_text="x")
    run = db.run(ID)
    assert (run.state, run.generation, run.step, run.threads, run.probe_text) == (store.RUNNING, 1, 3, 2, "x")
    assert (run.eval_loss, run.best_eval_loss, run.val_loss) == (2.0, 2.0, None)
    assert max(row.step for row in db.events(ID)) == 3
    db.append(ID, [progress(4)], {})
    assert db.events(ID)[-1].id > newest
    db.begin(ID, step=4, threads=1, device="cpu", probe_text="y")
    assert (db.run(ID).generation, db.run(ID).probe_text) == (2, "x")


def test_the_ids_of_a_deleted_run_are_not_used_again(db):
    db.append(ID, [progress(1), progress(2)], {})
    newest = db.events(ID)[-1].id
    db.delete_run(ID)
    assert db.runs() == []
    add(db, "bbbbbbbbbb")
    db.append("bbbbbbbbbb", [Notice(0, "hello")], {})
    assert db.events("bbbbbbbbbb")[0].id > newest


def test_only_new_events_of_a_kind(db):
    db.append(ID, [progress(1), Notice(1, "a"), progress(2), Notice(2, "b")], {})
    rows = db.events(ID)
    assert [row.step for row in db.events(ID, after=rows[1].id)] == [2, 2]
    assert [row.body["text"] for row in db.events(ID, kinds=["notice"])] == ["a", "b"]
    assert len(db.events(ID, limit=3)) == 3


def test_a_state_changes_only_from_where_it_was_expected(db):
    assert db.change_state(ID, store.STARTING, [store.QUEUED])
    assert not db.change_state(ID, store.STARTING, [store.QUEUED])
    assert not db.enqueue(ID, store.RESUMABLE)
    assert db.change_state(ID, store.PAUSED, store.ACTIVE, "why")
    run = db.run(ID)
    assert (run.state, run.reason, run.ended_at is not None) == (store.PAUSED, "why", True)
    assert db.enqueue(ID, store.RESUMABLE)
    assert (db.run(ID).state, db.run(ID).reason, db.run(ID).ended_at) == (store.QUEUED, "", None)


@pytest.fixture
def rollback_db(db):
    """The same, on a file system that cannot do WAL."""
    connection = sqlite3.connect(db.path)
    assert connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0] == "delete"
    connection.close()
    return db


def test_without_wal(rollback_db, outside):
    db = rollback_db
    db.append(ID, [progress(1)], {"step": 1})
    holder = outside(HOLD, db.path, 1)
    holder.stdout.readline()
    assert db.run(ID).step == 1
    db.append(ID, [progress(2)], {"step": 2})
    assert [row.step for row in db.events(ID)] == [1, 2]
    assert not db.path.with_name("playground.db-wal").exists()


DIE_WHILE_WRITING = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size=5")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE runs SET name='half written'")
for i in range(2000):
    db.execute("INSERT INTO events (run_id, step, kind, body) VALUES (?, 1, 'notice', ?)", (sys.argv[2], "x" * 500))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_killed_in_a_rollback_journal_is_undone(rollback_db, outside):
    db = rollback_db
    db.append(ID, [progress(1)], {})
    assert outside(DIE_WHILE_WRITING, db.path, ID).wait(LONGEST_S) == -9
    journal = db.path.with_name("playground.db-journal")
    assert journal.stat().st_size > 0
    # What a reader may not do by itself: without help it cannot even look.
    bare = sqlite3.connect(f"{db.path.as_uri()}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError):
        bare.execute("SELECT * FROM runs").fetchall()
    bare.close()
    assert db.run(ID).name == "a run"
    assert [row.kind for row in db.events(ID)] == ["progress"]
    assert not journal.exists()


class SmallStore(Store):
    """One whose disk has no room for another page: SQLite's own limit."""

    @contextmanager
    def _connect(self, *arguments, **options):
        with super()._connect(*arguments, **options) as db:
            db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}")
            yield db


def test_a_full_disk_is_said_to_be_full_and_keeps_what_was_there(db, tmp_path):
    db.append(ID, [progress(1)], {"step": 1})
    buffer = Buffer(SmallStore(tmp_path), ID)
    for step in range(2, 2000):
        buffer.add(progress(step), step=step)
    with pytest.raises(StoreFull, match="the disk is full"):
        buffer.flush()
    assert (db.run(ID).step, len(db.events(ID)), len(buffer.waiting)) == (1, 1, 1998)
    buffer.store = db
    assert buffer.flush()
    assert (db.run(ID).step, len(db.events(ID))) == (1999, 1999)


def test_no_torch_is_needed():
    script = "import sys, playground.runs.store, playground.workers.supervisor, playground.cli.commands; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout == "False\n", done.stderr


def test_while_it_is_held_open_the_journal_outlasts_those_who_write(tmp_path):
    db, journal = Store(tmp_path), tmp_path / "playground.db-wal"
    db.create()
    words = {"name": "n", "owner": "o", "config": "{}", "n_params": 1, "state": store.QUEUED}
    db.add_run("aaaaaaaaaa", **words)
    assert not journal.exists(), "whoever closes last puts it away"
    with db.held_open():
        db.add_run("bbbbbbbbbb", **words)
        assert journal.exists() and {run.id for run in db.runs()} == {"aaaaaaaaaa", "bbbbbbbbbb"}
    assert not journal.exists()


@pytest.fixture
def opened(monkeypatch):
    """The connections that are opened from now on."""
    found, connect = [], sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **options: found.append(connect(*given, **options)) or found[-1])
    return found


def test_while_it_is_held_open_those_who_read_share_connections_and_see_what_others_write(tmp_path, opened):
    db, other = Store(tmp_path), Store(tmp_path)
    db.create()
    with db.held_open():
        assert db.runs() == []
        before = len(opened)
        for _ in range(20):
            assert db.runs() == [] and db.limits() == {} and not db.knows("aaaaaaaaaa")
        assert len(opened) == before
        add(other, "aaaaaaaaaa", name="n")
        assert db.run("aaaaaaaaaa").name == "n"
        other.rename("aaaaaaaaaa", "m")
        assert db.run("aaaaaaaaaa").name == "m"
        with pytest.raises(NoSuchRun):
            db.run("bbbbbbbbbb")
    for each in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            each.execute("SELECT 1")


def test_many_threads_read_at_once_while_it_is_held_open(tmp_path, opened):
    db, ids = Store(tmp_path), [f"aaaaaaaaa{letter}" for letter in "abcdefghijklmnop"]
    db.create()
    for run_id in ids:
        add(db, run_id, name=f"the {run_id}")
    with db.held_open(), ThreadPoolExecutor(len(ids)) as pool:
        names = list(pool.map(lambda run_id: {db.run(run_id).name for _ in range(30)}, ids))
        assert names == [{f"the {run_id}"} for run_id in ids]
        assert len(db._readers._idle) <= db._readers.MOST_IDLE


def test_of_a_database_that_takes_the_place_of_another_the_new_one_is_read(tmp_path):
    db, other = Store(tmp_path), Store(tmp_path / "other")
    for each, run_id in ((db, "aaaaaaaaaa"), (other, "bbbbbbbbbb")):
        each.create()
        add(each, run_id)
    with db.held_open():
        assert [run.id for run in db.runs()] == ["aaaaaaaaaa"]
        for journal in tmp_path.glob("playground.db-*"):
            journal.unlink()
        other.path.replace(db.path)
        assert [run.id for run in db.runs()] == ["bbbbbbbbbb"]
        db.path.unlink()
        with pytest.raises(store.StoreUnusable):
            db.runs()


def test_a_reader_that_failed_is_not_used_again(tmp_path, opened):
    db = Store(tmp_path)
    db.create()
    with db.held_open():
        with pytest.raises(ZeroDivisionError), db._reading() as reader:
            reader.execute("SELECT 1")
            raise ZeroDivisionError
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            reader.execute("SELECT 1")
        assert db.runs() == []


def test_half_a_character_is_no_run(tmp_path):
    """JSON can hold it, UTF-8 cannot."""
    db = Store(tmp_path)
    db.create()
    with pytest.raises(NoSuchRun, match="ud800"):
        db.run("\ud800")

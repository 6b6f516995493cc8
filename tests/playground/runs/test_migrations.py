"""Databases of every earlier format, as the code of their time left them (`databases/vN.sql`, dumps), and files that are none."""

import math
import sqlite3
from pathlib import Path

import pytest

from playground.runs import store
from playground.runs.store import Store, StoreForeign

KEPT = Path(__file__).parent / "databases"
OF_TWO = Path(__file__).parents[1] / "workers" / "root_of_before" / "playground.sql"
VERSIONS = {1: KEPT / "v1.sql", 2: OF_TWO, 3: KEPT / "v3.sql"}


def database(root, script):
    db = sqlite3.connect(root / "playground.db")
    db.executescript(script)
    db.close()
    return Store(root)


def version(db):
    raw = sqlite3.connect(db.path)
    try:
        return raw.execute("PRAGMA user_version").fetchone()[0]
    finally:
        raw.close()


@pytest.mark.parametrize("number", VERSIONS)
def test_a_database_of_every_version_is_brought_up_to_date(tmp_path, number):
    db = database(tmp_path, VERSIONS[number].read_text())
    assert version(db) == number
    before = db.runs()
    db.create()
    assert version(db) == len(store.MIGRATIONS)
    assert [(run.id, run.name, run.owner, run.state, run.step) for run in db.runs()] == [
        (run.id, run.name, run.owner, run.state, run.step) for run in before
    ]
    assert db.uploads() == {} and db.limits() == {}
    db.create()
    assert [run.id for run in db.runs()] == [run.id for run in before]


@pytest.mark.parametrize("number", [1, 3])
def test_what_was_recorded_is_read_as_it_was(tmp_path, number):
    db = database(tmp_path, VERSIONS[number].read_text())
    db.create()
    runs = {run.name: run for run in db.runs()}
    assert runs["finished"].train_loss == 2.0 and math.isnan(runs["diverged"].train_loss)
    assert (runs["finished"].reason, runs["waits"].place) == ("all 10 steps done", 3)
    assert [row.kind for row in db.events(runs["finished"].id)] == ["progress", "validation", "validation"]
    assert not runs["waits"].private and db.change_state(runs["waits"].id, store.STOPPED, [store.QUEUED])


def test_every_version_but_the_newest_is_kept():
    """What was added since the last release needs no dump yet."""
    assert list(VERSIONS) == list(range(1, max(VERSIONS) + 1)) and all(path.exists() for path in VERSIONS.values())


FOREIGN = {
    "CREATE TABLE songs (title TEXT)": "is a database of another program",
    "CREATE TABLE songs (title TEXT); PRAGMA user_version=2": "is a database of another program",
    "CREATE TABLE runs (id TEXT); CREATE TABLE events (id TEXT); PRAGMA user_version=99": r"later version of the playground \(format 99",
}


@pytest.mark.parametrize("script", FOREIGN)
def test_a_database_that_is_not_ours_is_named_and_left_as_it_is(tmp_path, script):
    db = database(tmp_path, script)
    before = db.path.read_bytes()
    with pytest.raises(StoreForeign, match=FOREIGN[script]):
        db.create()
    assert db.path.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["playground.db"]


def test_an_empty_file_is_said_to_hold_no_runs_and_becomes_a_database(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CREATION_WAIT_S", 0.05)
    db = Store(tmp_path)
    db.path.touch()
    with pytest.raises(StoreForeign, match=r"playground\.db holds no runs: it is empty, or not a database of this version"):
        db.runs()
    db.create()
    assert db.runs() == []

"""Each fault of `soak faults`, made once: nothing is lost, and the fault is reported."""

import io
import os
import sys
import time

import pytest

from playground.runs import store
from playground.runs.store import Store
from playground.workers import worker
from tests.soak import faults

LOCKED_S = 4.0  # `soak faults` holds the lock for 10 s
# The tests of the supervisor also kill a worker and resume its run.
QUICK = [fault for fault in faults.FAULTS if fault is not faults.killed_by_the_system]


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.__name__)
def test_what_happens_is_what_is_stated(fault, tmp_path):
    try:
        said = fault(tmp_path, LOCKED_S) if fault is faults.locked_database else fault(tmp_path)
    except faults.NotPossible as why:
        pytest.skip(str(why))
    assert said


def test_a_clock_that_is_set_back_puts_nothing_before_what_was(tmp_path, monkeypatch):
    db = Store(tmp_path)
    db.create()
    clock = [1_000_000.0]
    monkeypatch.setattr(store.time, "time", lambda: clock[0])
    add = lambda run_id: db.add_run(run_id, name="", owner=run_id, config="{}", n_params=1, state=store.QUEUED)  # noqa: E731
    for run_id in ("a", "b"):
        add(run_id)
        db.begin(run_id, step=0, threads=1, device="cpu", probe_text="")
        clock[0] -= 3600
    assert db.change_state("b", store.FINISHED, store.ACTIVE)
    a, b = db.run("a"), db.run("b")
    assert a.created_at < a.started_at < b.created_at < b.started_at < b.ended_at < a.created_at + 1
    assert [run.id for run in db.runs()] == ["b", "a"]
    assert db.last_starts() == {"a": a.started_at, "b": b.started_at}


def test_a_clock_that_was_days_ahead_is_not_believed_for_ever(tmp_path, monkeypatch):
    db = Store(tmp_path)
    db.create()
    add = lambda run_id: db.add_run(run_id, name="", owner="o", config="{}", n_params=1, state=store.QUEUED)  # noqa: E731
    real = time.time()
    monkeypatch.setattr(store.time, "time", lambda: real + 40 * store.DAY_S)
    add("a")
    monkeypatch.setattr(store.time, "time", lambda: real)
    add("b")
    assert db.run("b").created_at == real


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_the_log_on_a_full_disk_does_not_end_a_worker(monkeypatch):
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr("sys.stderr", io.TextIOWrapper(full, write_through=True))
        with pytest.raises(OSError, match="No space"):
            print("x", file=sys.stderr, flush=True)
        worker.say("x")

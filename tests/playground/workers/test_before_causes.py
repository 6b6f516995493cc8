"""A root of the code that kept in words alone why a run had ended: made by that code, kept as data, and used by this one.

Each run in it is named after the cause that it ought to have. Two were paused by the host with all the others, one of them while it
trained.
"""

import shutil
import sqlite3
from pathlib import Path

import pytest

from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.folder import RunFolder
from playground.runs.store import MIGRATIONS, Store, StoreBusy
from playground.system import locks
from playground.training.outcome import Cause
from playground.web.hosting import FOR_ALL, Host
from playground.workers.supervisor import Supervisor
from playground.workers.worker import Interruption, execute
from tests.patience import LONGEST_S

BEFORE = Path(__file__).parent / "root_of_before"


@pytest.fixture
def root(tmp_path):
    shutil.copytree(BEFORE, tmp_path / "root")
    db = sqlite3.connect(tmp_path / "root" / "playground.db")
    db.executescript((BEFORE / "playground.sql").read_text())
    assert db.execute("PRAGMA user_version").fetchone()[0] == 2 < len(MIGRATIONS)
    db.close()
    return tmp_path / "root"


def test_runs_get_their_causes_from_the_words(root):
    db = Store(root)
    db.create()
    runs = {run.name: run for run in db.runs()}
    expected = {name: name.split(",")[0].removeprefix("none") for name in runs if not name.startswith("wanted by ")}
    assert {name: runs[name].cause for name in expected} == expected
    assert set(expected.values()) == set(Cause) - {Cause.ROOM, Cause.EXPERIMENT}, "every cause there was"
    wanted = {run.name: run.wanted_by for run in runs.values() if run.state == store.RUNNING}
    assert wanted == {"wanted by host_all": "host_all", "wanted by turn": "turn"}
    assert {run.wanted_by for run in runs.values()} == {"", "owner", "host", "host_all", "host_idle", "idle", "time", "turn"}
    db.create()
    assert {run.name: run.cause for run in db.runs()} == {name: run.cause for name, run in runs.items()}, "once"


def test_what_the_host_had_paused_goes_on_with_all_the_others_and_nothing_else(root):
    db = Store(root)
    db.create()
    before = {run.id: run.state for run in db.runs()}
    assert Host(Supervisor(Settings(root), db)).resume_all(HOST) == 2
    resumed = [run for run in db.runs() if run.state != before[run.id]]
    assert {(run.name, run.state, run.cause, run.wanted) for run in resumed} == {
        ("host_all, trained", store.QUEUED, "", "run"), ("host_all, waited", store.QUEUED, "", "run")
    }  # fmt: skip
    (trained,) = [run.id for run in resumed if run.step > 0]
    newest, interruption = RunFolder(root, trained).checkpoint_steps()[-1], Interruption()

    def heard(event):
        interruption.wanted = "stop" if event.step > newest else None

    outcome = execute(root, trained, 1, interruption, heard)
    assert outcome.step > newest == 1026 and outcome.cause == Cause.OWNER and db.run(trained).generation == 2


def test_words_alone_decide_nothing(root):
    db = Store(root)
    db.create()
    for run in db.runs_in([store.PAUSED]):
        assert db.change_state(run.id, store.PAUSED, [store.PAUSED], FOR_ALL, Cause.OWNER)
    assert Host(Supervisor(Settings(root), db)).resume_all(HOST) == 0


def version_of(root):
    db = sqlite3.connect(root / "playground.db")
    try:
        return db.execute("PRAGMA user_version").fetchone()[0]
    finally:
        db.close()


def test_reading_changes_nothing_in_it(root):
    runs = Store(root).runs()
    assert len(runs) > 20 and {run.cause for run in runs} == {""} and version_of(root) == 2
    Store(root).rename(runs[0].id, "another name")
    assert version_of(root) == len(MIGRATIONS), "writing brings it up to date"


# A worker of that code reads whole rows, and cannot read one with a column that it doesn't know.
WORKER_OF_BEFORE = """
import sqlite3, sys, time
from pathlib import Path
from playground.system import locks
path, run_id = Path(sys.argv[1]), sys.argv[2]
lock = locks.acquire(path / "runs" / run_id / "lock")
db = sqlite3.connect(path / "playground.db", timeout=10)
known = [row[1] for row in db.execute("PRAGMA table_info(runs)")]
print("trains", flush=True)
while db.execute("SELECT wanted FROM runs WHERE id=?", (run_id,)).fetchone()[0] == "run":
    time.sleep(0.02)
time.sleep(0.3)
found = [row[1] for row in db.execute("PRAGMA table_info(runs)")]
db.execute("UPDATE runs SET state='paused', reason='paused by its owner', step=77 WHERE id=?", (run_id,))
db.commit()
print("saved" if found == known else found, flush=True)
"""


@pytest.mark.parametrize("wanted", ["run", "pause"])
def test_what_its_workers_train_is_saved_before_it_changes_and_goes_on_after(root, run_python, wanted):
    db = Store(root)
    (run,) = [run for run in db.runs() if run.name == "wanted by turn"]
    other = sqlite3.connect(root / "playground.db")
    other.execute("UPDATE runs SET wanted=? WHERE id=?", (wanted, run.id))
    other.commit()
    other.close()
    process = run_python("-c", WORKER_OF_BEFORE, str(root), run.id)
    assert process.stdout.readline() == "trains\n"
    db.create()
    assert process.communicate(timeout=LONGEST_S) == ("saved\n", "")
    now = db.run(run.id)
    assert now.step == 77
    if wanted == "run":
        assert (now.state, now.wanted, now.cause, now.reason) == (store.QUEUED, "run", "", "")
    else:
        assert (now.state, now.cause) == (store.PAUSED, "owner"), "who had it paused finds it paused"


def test_its_app_must_have_ended_first(root):
    lock = locks.acquire(root / store.APP_LOCK)
    with pytest.raises(StoreBusy, match="earlier version still serves this folder"):
        Store(root).create()
    assert version_of(root) == 2
    lock.release()
    Store(root).create()
    assert version_of(root) == len(MIGRATIONS)

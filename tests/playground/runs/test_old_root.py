"""A root that the code before the rooms left behind still opens, and what was cut short in it goes on to the end it had then.

`tests/data/old_root` was made by the command line of commit 73a9d72 with one thread: a run on a task that finished, one with dropout on
a text of its own that was paused, a schedule-free one that got a SIGTERM, and one with byte-level choices of other kinds (Muon, SwiGLU,
RMSNorm, RoPE) that was killed, so that its row still says it trains. `old_root.json` is what that code made of the last three when it
resumed them.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from starlette.testclient import TestClient

from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.folder import RunFolder
from playground.runs.store import MIGRATIONS, Store
from playground.web.routes import Routes
from playground.workers.supervisor import Supervisor
from playground.workers.worker import Interruption, execute
from tests.command import run_here

DATA = Path(__file__).parents[2] / "data"
THEN = json.loads((DATA / "old_root.json").read_text())
FINISHED = "crygcnlmrd"
STATES = {"finished": store.FINISHED, "paused": store.PAUSED, "interrupted": store.INTERRUPTED, "killed": store.INTERRUPTED}


@pytest.fixture
def root(tmp_path):
    return Path(shutil.copytree(DATA / "old_root", tmp_path / "root"))


@pytest.fixture
def command(root):
    return lambda *words: run_here(*words, root=root)


def schema_version(root: Path) -> int:
    with closing(sqlite3.connect(root / "playground.db")) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def test_it_is_brought_up_to_date_and_nothing_is_lost(root):
    assert schema_version(root) == 2
    db = Store(root)
    with closing(sqlite3.connect(db.path)) as before:
        n_events = before.execute("SELECT count(*) FROM events").fetchone()[0]
    db.create()
    assert schema_version(root) == len(MIGRATIONS) and db.integrity() == []
    assert {run.name for run in db.runs()} == set(STATES)
    assert sum(len(db.events(run.id)) for run in db.runs()) == n_events > 40
    assert db.names() == {"host": "the host of then"} and db.limits() == {"max_running": 3}
    for run in db.runs():
        config = RunFolder(root, run.id).read_config()
        digests = [json.loads(path.read_text())["digest"] for path in RunFolder(root, run.id).checkpoints.glob("*.json")]
        assert set(digests) == {config.digest}, "a config of then is the same config now"


def test_the_command_line_lists_and_samples(command):
    rows = {row["name"]: row for row in command("runs", "--json").json}
    assert {name: row["state"] for name, row in rows.items()} == STATES
    assert [rows[name]["step"] for name in STATES] == [60, 46, 53, 100]
    for step in ("0", "60"):
        sampled = command("sample", FINISHED, "--step", step, "--prompt", "abc>", "--max-new-tokens", "4", "--json").json
        assert len(sampled["text"]) == 4 and set(sampled["text"]) <= {*"abcd>."}


def test_the_page_shows_it(root):
    db = Store(root)
    db.create()
    client = TestClient(Routes(Settings(root), db).app())
    assert {row["name"] for row in client.get("/runs").json()} == set(STATES)
    shown = client.get(f"/runs/{FINISHED}").json()
    assert shown["run"]["state"] == store.FINISHED and shown["events"]["progress"]["step"] == [1, 20, 40, 60]


@pytest.mark.parametrize("name", THEN)
def test_what_was_cut_short_goes_on_to_the_end_it_had_then(command, root, name):
    """Bit-identical on the machine that made it; another's float sums differ in their last digits."""
    then = THEN[name]
    done = command("resume", then["run_id"], "--json")
    assert (done.status, done.err) == (0, "")
    run, db = Store(root).run(then["run_id"]), Store(root)
    assert (run.state, run.step, run.generation, run.threads) == (then["state"], then["steps"], then["generation"], 1)
    assert sorted(int(path.stem) for path in RunFolder(root, run.id).checkpoints.glob("[0-9]*.json")) == then["checkpoints"]
    curve = [(row.step, row.body["loss"]) for row in db.events(run.id, kinds=["progress"])]
    assert [step for step, _ in curve] == [step for step, _ in then["curve"]]
    assert [loss for _, loss in curve] == pytest.approx([loss for _, loss in then["curve"]], abs=1e-5)
    assert run.val_loss == pytest.approx(then["final_val_loss"], abs=1e-5)


def test_what_had_finished_is_trained_further(root):
    db = Store(root)
    db.create()
    child = Supervisor(Settings(root), db).continue_run(FINISHED, HOST, steps=10)
    assert execute(root, child, 1, Interruption()).state == store.FINISHED
    assert (db.run(child).parent, db.run(child).step) == (FINISHED, 10)
    first, last = (
        RunFolder(root, each).checkpoints / name for each, name in ((child, "000000.safetensors"), (FINISHED, "000060.safetensors"))
    )
    ours, theirs = load_file(first), load_file(last)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

"""Real workers: started, steered, killed and gone on with, by whoever may do so."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.knobs import ConfigError, flat, nested
from playground.config.settings import Settings
from playground.data import corpora, dataset
from playground.data.tokenizers import UnknownCharacters
from playground.runs import access, store
from playground.runs.access import HOST, NOBODY, NotAllowed, Visitor
from playground.runs.creation import create_run
from playground.runs.store import NoSuchRun, Store
from playground.system import memory
from playground.training.outcome import Cause
from playground.workers.admission import CannotDo
from playground.workers.supervisor import Supervisor

ALICE, BOB = Visitor.from_key(access.new_key()), Visitor.from_key(access.new_key())


@pytest.fixture
def started(house, endless):
    """Start an endless run of Alice's that is training when the test gets it, and stopped when it ends."""
    ids = []

    def start(visitor=ALICE, **changes):
        run_id = house.supervisor.submit(endless(**changes), visitor)
        ids.append(run_id)
        house.wait_step(run_id, 1)
        return run_id

    yield start
    for run_id in ids:
        if run_id in [run.id for run in house.db.runs_in(store.IN_PROGRESS)]:
            house.supervisor.stop(run_id, HOST)
            house.wait(run_id, store.STOPPED, store.FINISHED)


def weights(house, run_id, step=None):
    step = house.checkpoints(run_id)[-1] if step is None else step
    return load_file(house.folder(run_id).checkpoints / f"{step:06d}.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_from_its_start_to_its_end(house, tiny):
    run_id = house.supervisor.submit(tiny(), ALICE, name="  my <b>first</b>\nrun " + "x" * 200, preset="default")
    assert len(house.db.run(run_id).name) == 80
    assert house.db.run(run_id).name.startswith("my <b>first</b> run xxx")
    run = house.wait(run_id, store.FINISHED)
    assert (run.step, run.generation, run.owner, run.threads) == (60, 1, ALICE.id, 1)
    assert run.val_loss is not None
    assert house.checkpoints(run_id) == [0, 20, 40, 60]
    kinds = {row.kind for row in house.db.events(run_id)}
    assert kinds >= {"progress", "validation", "probe", "sample", "checkpoint"}
    assert house.folder(run_id).read_config().model.vocab_size == run.config.model.vocab_size > 1
    with pytest.raises(CannotDo, match=r"is finished; continue it as a new run"):
        house.supervisor.resume(run_id, ALICE)


def test_pause_resume_stop(house, started):
    run_id = started()
    house.supervisor.pause(run_id, ALICE)
    paused = house.wait(run_id, store.PAUSED)
    assert paused.step == house.checkpoints(run_id)[-1] > 0
    with pytest.raises(CannotDo, match="is paused; there is nothing to pause"):
        house.supervisor.pause(run_id, ALICE)
    house.supervisor.resume(run_id, ALICE)
    house.wait_step(run_id, paused.step + 1)
    assert house.db.run(run_id).generation == 2
    assert house.db.run(run_id).threads == paused.threads
    house.supervisor.stop(run_id, ALICE)
    stopped = house.wait(run_id, store.STOPPED)
    assert stopped.step == house.checkpoints(run_id)[-1] > paused.step
    assert stopped.val_loss is not None
    assert stopped.reason == "stopped by its owner"


def test_a_paused_run_can_be_stopped_without_a_worker(house, started):
    run_id = started()
    house.supervisor.pause(run_id, ALICE)
    house.wait(run_id, store.PAUSED)
    house.supervisor.stop(run_id, ALICE)
    assert house.state(run_id) == store.STOPPED


@pytest.mark.parametrize("ask", ["pause", "stop"])
def test_a_run_that_leaves_the_queue_while_it_is_stopped_is_stopped(tmp_path, tiny, monkeypatch, ask):
    db, settings = Store(tmp_path), Settings(tmp_path)
    db.create()
    run_id = create_run(db, settings, tiny(), ALICE, state=store.QUEUED)
    changed = db.change_state

    def too_late(of, state, from_states, *rest, **values):
        """As if the queue had been served between the question and its answer."""
        if from_states == [store.QUEUED]:
            changed(of, store.STARTING, from_states)
        return changed(of, state, from_states, *rest, **values)

    monkeypatch.setattr(db, "change_state", too_late)
    getattr(Supervisor(settings, db), ask)(run_id, ALICE)
    assert (db.run(run_id).state, db.run(run_id).wanted) == (store.STARTING, ask)
    changed(run_id, store.FINISHED, [store.STARTING])
    with pytest.raises(CannotDo, match=f"is finished; there is nothing to {ask}"):
        getattr(Supervisor(settings, db), ask)(run_id, ALICE)


def test_killed_and_resumed_equals_undisturbed(house, tiny):
    config = tiny(**{"train.max_steps": 1500, "train.checkpoint_interval": 100, "train.eval_interval": 500, "train.log_interval": 50})
    whole = house.supervisor.submit(config, ALICE)
    house.wait(whole, store.FINISHED)
    broken = house.supervisor.submit(config, ALICE)
    house.until(lambda: house.checkpoints(broken)[-1:] >= [300], "a checkpoint at step 300")
    os.kill(house.pids(broken)[-1], signal.SIGKILL)
    run = house.wait(broken, store.INTERRUPTED)
    assert "died: it was killed, as the system does when memory runs out" in run.reason
    assert f"in process {house.pids(broken)[0]}" in house.folder(broken).log_tail()
    kept = house.checkpoints(broken)[-1]
    assert 300 <= kept < 1500
    house.supervisor.resume(broken, ALICE)
    run = house.wait(broken, store.FINISHED)
    assert len(house.pids(broken)) == 2
    assert run.generation == 2
    assert same(weights(house, whole), weights(house, broken))
    assert not same(weights(house, whole), weights(house, whole, kept))
    assert run.val_loss == house.db.run(whole).val_loss
    steps = [row.step for row in house.db.events(broken, kinds=["progress"])]
    assert [step for step in steps if step > 1] == list(range(50, 1501, 50))


def test_somebody_else_may_look_but_not_touch(house, started):
    run_id, supervisor = started(), house.supervisor
    before = house.db.run(run_id)
    actions = [(action,) for action in (supervisor.pause, supervisor.stop, supervisor.resume, supervisor.delete, supervisor.continue_run)]
    actions += [(supervisor.rename, "mine now"), (supervisor.set_probe_text, "mine")]
    for visitor in (BOB, NOBODY):
        for action, *words in actions:
            with pytest.raises(NotAllowed):
                action(run_id, visitor, *words)
    after = house.db.run(run_id)
    assert (after.state, after.wanted, after.name, after.probe_text) == (store.RUNNING, "run", before.name, before.probe_text)
    supervisor.rename(run_id, HOST, "the host may")
    assert house.db.run(run_id).name == "the host may"
    with pytest.raises(CannotDo, match="printable"):
        supervisor.rename(run_id, ALICE, " \n\t ")


def test_who_is_nobody_starts_nothing(house, tiny):
    before = snapshot(house)
    with pytest.raises(NotAllowed, match="owner key"):
        house.supervisor.submit(tiny(), NOBODY)
    assert snapshot(house) == before


def snapshot(house):
    return sorted(path.name for path in (house.root / "runs").glob("*")), sorted(run.id for run in house.db.runs())


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"model.n_layer": 0}, "model.n_layer"),
        ({"model.n_head": 3}, "model.n_head"),
        ({"optim.lr": float("nan")}, "optim.lr"),
        ({"model.layers": 2}, "model.layers"),
        ({"model.n_embd": 512}, "model.n_embd"),
        ({"train.max_steps": 3_000_000}, "train.max_steps"),
        ({"data.source": "/etc/passwd"}, "data.source"),
        ({"data.source": "upload:" + "0" * 64}, "data.source"),
        ({"probe.text": "愛"}, "probe.text"),
    ],
)
def test_a_config_that_cannot_be_used_starts_nothing(house, tiny, changes, path):
    config = nested(flat(tiny()) | changes)
    before = snapshot(house)
    with pytest.raises(ConfigError) as caught:
        house.supervisor.submit(config, ALICE)
    assert path in [problem.path for problem in caught.value.problems]
    assert snapshot(house) == before


def test_a_text_shorter_than_a_window_starts_nothing(house, tiny):
    source = corpora.add_text(house.root, "a text of 44 characters and not one token more")
    before = snapshot(house)
    with pytest.raises(ConfigError, match=r"fewer than one window of 17"):
        house.supervisor.submit(tiny(**{"data.source": source}), ALICE)
    assert snapshot(house) == before


def test_problems_of_text_and_limits_come_together(house, tiny):
    config = tiny(**{"data.source": "upload:" + "0" * 64, "train.max_steps": 3_000_000, "model.n_embd": 1024})
    with pytest.raises(ConfigError) as caught:
        house.supervisor.submit(config, ALICE)
    assert {problem.path for problem in caught.value.problems} == {"data.source", "train.max_steps", "model.n_embd"}


def test_active_runs_are_not_deleted_others_are(house, started):
    run_id = started()
    with pytest.raises(CannotDo, match="stop it first"):
        house.supervisor.delete(run_id, ALICE)
    assert house.folder(run_id).path.is_dir()
    house.supervisor.stop(run_id, ALICE)
    house.wait(run_id, store.STOPPED)
    house.until(lambda: not house.processes() & set(house.pids(run_id)), "the end of the worker")
    house.supervisor.delete(run_id, ALICE)
    assert not house.folder(run_id).path.exists()
    with pytest.raises(NoSuchRun):
        house.db.run(run_id)
    assert house.db.events(run_id) == []


def test_training_further_starts_from_the_weights_of_the_parent(house, tiny):
    parent = house.supervisor.submit(tiny(), ALICE)
    house.wait(parent, store.FINISHED)
    child = house.supervisor.continue_run(parent, ALICE, steps=40)
    run = house.wait(child, store.FINISHED)
    assert (run.parent, run.step, run.owner) == (parent, 40, ALICE.id)
    assert same(weights(house, child, 0), weights(house, parent, 60))
    assert not same(weights(house, child, 40), weights(house, parent, 60))
    house.supervisor.delete(parent, ALICE)
    assert house.db.run(child).parent is None


def test_the_probe_text_changes_while_it_trains(house, started):
    run_id = started()
    with pytest.raises(UnknownCharacters, match=r"probe\.text: '愛'"):
        house.supervisor.set_probe_text(run_id, ALICE, "愛")
    with pytest.raises(ConfigError, match="empty"):
        house.supervisor.set_probe_text(run_id, ALICE, "")
    before = {path.name for path in (house.folder(run_id).path / "probes").iterdir()}
    house.supervisor.set_probe_text(run_id, ALICE, "fox and hen")
    house.until(lambda: len(list((house.folder(run_id).path / "probes").iterdir())) == len(before) + 1, "a probe of the new text")
    house.supervisor.pause(run_id, ALICE)
    house.wait(run_id, store.PAUSED)
    assert house.db.run(run_id).probe_text == "fox and hen"


@pytest.mark.parametrize("run_id", ["../../../etc", "aaaaaaaaaa", "", None])
def test_a_run_that_is_not_there(house, run_id):
    for action in (house.supervisor.pause, house.supervisor.stop, house.supervisor.resume, house.supervisor.delete):
        with pytest.raises(NoSuchRun):
            action(run_id, HOST)


def paused_on_a_text(house, started):
    """A paused run on a text of its own: its id, the stored text and the folder of its prepared data."""
    source = corpora.add_text(house.root, "the quick brown fox jumps over the lazy dog\n" * 50)
    run_id = started(**{"data.source": source})
    house.supervisor.pause(run_id, ALICE)
    house.wait(run_id, store.PAUSED)
    prepared = dataset.prepare(house.folder(run_id).read_config().data, house.root)
    return run_id, house.root / "corpora" / f"{source.removeprefix('upload:')}.txt", prepared


def test_data_that_have_changed_are_not_gone_on_with(house, started):
    run_id, _, prepared = paused_on_a_text(house, started)
    path = prepared / "about.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"digest": known["digest"][::-1]}))
    house.supervisor.resume(run_id, ALICE)
    assert "the data have changed since this run began" in house.wait(run_id, store.FAILED).reason
    shutil.rmtree(prepared)
    house.supervisor.resume(run_id, ALICE)
    house.wait_step(run_id, 1)


def test_a_stored_text_that_is_damaged_is_not_gone_on_with_until_it_is_brought_again(house, started):
    run_id, path, prepared = paused_on_a_text(house, started)
    text = path.read_text()
    path.write_text(text.replace("fox", "cat"))
    shutil.rmtree(prepared)
    house.supervisor.resume(run_id, ALICE)
    assert "damaged" in house.wait(run_id, store.FAILED).reason
    step = house.db.run(run_id).step
    corpora.add_text(house.root, text)
    house.supervisor.resume(run_id, ALICE)
    house.wait_step(run_id, step + 1)


def test_prepared_data_that_are_gone_are_made_again(house, started):
    run_id = started(**{"data.source": "task:copy", "model.block_size": 24})
    house.supervisor.pause(run_id, ALICE)
    step = house.wait(run_id, store.PAUSED).step
    shutil.rmtree(house.root / "prepared")
    house.supervisor.resume(run_id, ALICE)
    house.wait_step(run_id, step + 1)


def test_a_truncated_checkpoint_is_named_and_the_run_fails(house, started):
    run_id = started()
    house.supervisor.pause(run_id, ALICE)
    step = house.wait(run_id, store.PAUSED).step
    path = house.folder(run_id).checkpoints / f"{step:06d}.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    house.supervisor.resume(run_id, ALICE)
    run = house.wait(run_id, store.FAILED)
    assert path.name in run.reason
    assert "CheckpointError" in house.folder(run_id).log_tail()
    # With the damaged one gone it goes on from the one before.
    path.with_suffix(".json").unlink()
    house.supervisor.resume(run_id, ALICE)
    house.wait_step(run_id, 1)


def test_the_queue(house, started, endless):
    first, second = started(), started()
    third, fourth, fifth = (house.supervisor.submit(endless(), visitor) for visitor in (ALICE, BOB, ALICE))
    places = house.supervisor.place_in_queue
    assert [places(run_id) for run_id in (first, fourth, third, fifth)] == [None, 1, 2, 3], "Bob, who trains nothing yet, is next"
    time.sleep(0.5)
    assert [house.state(run_id) for run_id in (third, fourth, fifth)] == [store.QUEUED] * 3
    house.supervisor.stop(third, ALICE)
    assert house.db.run(third).reason == "stopped by its owner while it waited"
    assert [places(run_id) for run_id in (fourth, fifth)] == [1, 2]
    house.supervisor.pause(fourth, BOB)
    assert places(fifth) == 1
    house.supervisor.resume(fourth, BOB)
    assert [places(run_id) for run_id in (fourth, fifth)] == [1, 2]
    house.supervisor.stop(second, ALICE)
    house.wait(fourth, store.RUNNING)
    assert house.state(fifth) == store.QUEUED
    house.supervisor.stop(first, ALICE)
    house.wait(fifth, store.RUNNING)
    for run_id, visitor in ((fourth, BOB), (fifth, ALICE)):
        house.supervisor.stop(run_id, visitor)
        house.wait(run_id, store.STOPPED)


# Each of these has a root and supervisors of its own.


@pytest.fixture
def other_house(tmp_path, open_house):
    house = open_house(tmp_path, max_running=1, max_queued=2)
    yield house
    house.close()


def test_a_full_queue_takes_no_more(other_house, endless):
    house = other_house
    house.supervisor.shutdown()
    ids = [house.supervisor.submit(endless(), ALICE) for _ in range(2)]
    before = snapshot(house)
    with pytest.raises(CannotDo, match="2 runs are waiting already"):
        house.supervisor.submit(endless(), BOB)
    assert snapshot(house) == before
    assert [house.supervisor.place_in_queue(run_id) for run_id in ids] == [1, 2]


def test_one_person_has_no_more_than_their_part_of_queue_and_machine(tmp_path, open_house, endless):
    house = open_house(tmp_path, max_running=2, max_running_each=1, max_queued_each=2)
    try:
        ids = [house.supervisor.submit(endless(), ALICE)]
        house.wait(ids[0], store.RUNNING)
        ids += [house.supervisor.submit(endless(), ALICE) for _ in range(2)]
        before = snapshot(house)
        with pytest.raises(CannotDo, match="2 of your runs are waiting already, and everybody may have 2"):
            house.supervisor.submit(endless(), ALICE)
        assert snapshot(house) == before
        bobs = house.supervisor.submit(endless(), BOB)
        house.wait(bobs, store.RUNNING)
        assert [house.state(run_id) for run_id in ids] == [store.RUNNING, store.QUEUED, store.QUEUED]
        house.supervisor.stop(bobs, BOB)
        house.wait(bobs, store.STOPPED)
        time.sleep(0.6)
        assert [house.state(run_id) for run_id in ids[1:]] == [store.QUEUED] * 2, "the free place is not for who has one already"
        house.supervisor.stop(ids[0], ALICE)
        house.wait(ids[1], store.RUNNING)
    finally:
        house.close()


def test_a_run_goes_on_without_its_supervisor_and_the_next_one_finds_it(other_house, endless):
    house = other_house
    run_id = house.supervisor.submit(endless(), ALICE)
    waiting = house.supervisor.submit(endless(), ALICE)
    house.wait_step(run_id, 1)
    house.until(house.supervisor.standby_pid, "a standby")
    assert [run.id for run in house.supervisor.shutdown()] == [run_id]
    assert house.processes() == {house.pids(run_id)[-1]}
    house.wait_step(run_id, house.db.run(run_id).step + 200)
    second = house.open()
    time.sleep(1.0)
    assert house.state(run_id) == store.RUNNING
    assert second.place_in_queue(waiting) == 1
    second.stop(run_id, ALICE)
    house.wait(run_id, store.STOPPED)
    house.wait(waiting, store.RUNNING)
    os.kill(house.pids(waiting)[-1], signal.SIGKILL)
    house.wait(waiting, store.INTERRUPTED)
    second.shutdown()
    house.until(lambda: not house.processes(), "the end of every process")


def test_two_supervisors_start_nothing_twice(other_house, tiny):
    house = other_house
    second = house.open()
    ids = []
    for i in range(3):
        house.until(lambda: len(house.db.runs_in([store.QUEUED])) < 2, "room in the queue")
        ids.append((second if i % 2 else house.supervisor).submit(tiny(), ALICE))
    for run_id in ids:
        run = house.wait(run_id, store.FINISHED)
        assert (len(house.pids(run_id)), run.generation) == (1, 1)
    assert sum(supervisor.standby_pid() is not None for supervisor in house.supervisors) <= 1
    # The second takes over when the first ends.
    house.supervisor.shutdown()
    last = second.submit(tiny(), ALICE)
    house.wait(last, store.FINISHED)


HANG_WITH_THE_DATABASE = """
import os, signal, sqlite3, sys
from pathlib import Path
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.system import locks
from playground.workers import pulse
root, run_id = Path(sys.argv[1]), sys.argv[2]
lock = locks.acquire(RunFolder(root, run_id).lock)
pulse.sign(lock)
print("at work", flush=True)
input()
db = sqlite3.connect(Store(root).path, isolation_level=None)
db.execute("PRAGMA locking_mode=EXCLUSIVE")
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_worker_that_hangs_with_the_database_locked_is_ended_and_the_queue_served_again(tmp_path, open_house, tiny, run_python):
    house = open_house(tmp_path, max_running=2)
    house.supervisor.shutdown()
    house.supervisor.settings = house.settings = replace(house.settings, heartbeat_s=1)
    run_id = house.supervisor.submit(tiny(), ALICE)
    process = run_python("-c", HANG_WITH_THE_DATABASE, str(tmp_path), run_id)
    try:
        assert process.stdout.readline() == "at work\n"
        assert house.db.change_state(run_id, store.RUNNING, [store.QUEUED])
        supervisor = house.open()
        house.until(lambda: run_id in supervisor._cores, "a look at the run")
        print(file=process.stdin, flush=True)
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(store.StoreBusy):
            house.db.runs_in(store.ACTIVE, 0.1)
        house.until(lambda: process.poll() == -signal.SIGKILL, "the end of what hangs")
        run = house.wait(run_id, store.INTERRUPTED)
        assert run.cause == Cause.HUNG and "hung (1 s without a sign of work) and was ended" in run.reason
        waiting = supervisor.submit(tiny(), ALICE)
        house.until(lambda: house.state(waiting) != store.QUEUED, "the start of the next")
    finally:
        process.kill()
        process.communicate()
        house.close()


@pytest.mark.parametrize("store_was_told", [True, False])
def test_what_was_cut_short_by_a_kill_is_cleared_away_by_the_next_app(other_house, tiny, store_was_told):
    """A run of which the store was never told, and a deletion that was not finished; runs that are known stay."""
    house = other_house
    house.supervisor.shutdown()
    kept, deleted = (house.supervisor.submit(tiny(), ALICE) for _ in range(2))
    untold, precious = house.folder("aaaaaaaaaa"), house.folder("bbbbbbbbbb")
    for folder in (untold, precious):
        with folder.created(tiny()):
            pass
    precious.checkpoints.mkdir()
    house.folder(deleted).path.rename(house.root / "runs" / f".{deleted}.deleted.unfinished")
    if store_was_told:
        house.db.delete_run(deleted)
    with house.folder("cccccccccc").created(tiny()):  # by somebody who is about to tell
        house.open()
        house.wait(kept, store.FINISHED)
        left = {path.name for path in (house.root / "runs").iterdir()}
    assert left == {kept, "bbbbbbbbbb", "cccccccccc"} and not house.db.knows(deleted)


def test_a_deletion_that_fails_takes_nothing_away(other_house, tiny, monkeypatch):
    house = other_house
    house.supervisor.shutdown()
    run_id = house.supervisor.submit(tiny(), ALICE)
    house.supervisor.pause(run_id, ALICE)

    def busy(*_):
        raise store.StoreBusy("locked")

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "delete_run", busy)
        with pytest.raises(store.StoreBusy):
            house.supervisor.delete(run_id, ALICE)
    assert house.folder(run_id).config.exists()
    house.supervisor.delete(run_id, ALICE)
    assert list((house.root / "runs").iterdir()) == []


def test_whatever_goes_wrong_the_queue_is_served_again(other_house, tiny, monkeypatch, capfd):
    house = other_house
    wrong = []

    def fail(*_):
        wrong.append(1)
        raise ValueError("something nobody thought of")

    with monkeypatch.context() as patch:
        patch.setattr(house.supervisor, "_keep_standby", fail)
        house.until(lambda: len(wrong) >= 3, "three ticks")
    assert capfd.readouterr().err.count("something nobody thought of") == 1
    house.wait(house.supervisor.submit(tiny(), ALICE), store.FINISHED)


def test_a_supervisor_that_cannot_launch_goes_on_serving(other_house, tiny):
    house = other_house
    house.supervisor.shutdown()
    gone = house.supervisor.submit(tiny(), ALICE)
    shutil.rmtree(house.folder(gone).path)
    fine = house.supervisor.submit(tiny(), ALICE)
    house.open()
    house.wait(fine, store.FINISHED)
    assert house.state(gone) in (store.INTERRUPTED, store.FAILED)
    assert "worker" in house.db.run(gone).reason


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux only")
def test_when_memory_runs_out_the_system_ends_a_worker_before_the_page(house, started):
    pid = house.pids(started())[-1]
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == memory.OOM_SCORE > int(Path("/proc/self/oom_score_adj").read_text())

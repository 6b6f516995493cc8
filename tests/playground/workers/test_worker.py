"""One run in one process, without a supervisor."""

import errno
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Store, StoreReadOnly
from playground.system import locks
from playground.training.outcome import Cause, Outcome
from playground.workers import worker
from playground.workers.leftovers import how_it_died, mark_dead
from playground.workers.standby import Standby
from playground.workers.worker import Interruption, cause_of, execute, explain
from tests.patience import LONGEST_S

THREADS = torch.get_num_threads()


@pytest.fixture
def db(tmp_path):
    db = Store(tmp_path)
    db.create()
    return db


@pytest.fixture
def new_run(db, tmp_path):
    return lambda config, state=store.STARTING: create_run(db, Settings(tmp_path), config, HOST, state=state)


@pytest.fixture
def work(run_python, tmp_path):
    """Start a worker process; whatever is left of it ends with the test."""
    started = []

    def start(*arguments, **options):
        command = ("-m", "playground.workers.worker", "--root", str(tmp_path), *arguments)
        started.append(run_python(*command, start_new_session=True, **options))  # as a supervisor does
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def test_sigterm_leaves_a_checkpoint_and_an_interrupted_run(db, new_run, work, endless, until, tmp_path):
    run_id = new_run(endless())
    process = work("--run", run_id, "--threads", "1", "--nice", "5")
    until(lambda: db.run(run_id).step > 0, "a step")
    group = Path(f"/proc/{process.pid}/autogroup")
    assert not group.exists() or group.read_text().endswith("nice 5\n"), "its session yields as a whole"
    assert locks.is_locked(RunFolder(tmp_path, run_id).lock)
    assert not mark_dead(db, tmp_path, db.run(run_id))
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONGEST_S) == 0
    run = db.run(run_id)
    assert run.state == store.INTERRUPTED
    assert "asked to end" in run.reason and run.cause == Cause.SIGNAL
    assert (RunFolder(tmp_path, run_id).checkpoints / f"{run.step:06d}.json").exists()
    assert not locks.is_locked(RunFolder(tmp_path, run_id).lock)


def test_a_killed_worker_is_found_dead(db, new_run, work, endless, until, tmp_path):
    run_id = new_run(endless())
    process = work("--run", run_id, "--threads", "1")
    until(lambda: db.run(run_id).step > 0, "a step")
    assert db.run(run_id).threads == 1
    process.kill()
    process.wait(LONGEST_S)
    assert db.run(run_id).state == store.RUNNING
    assert mark_dead(db, tmp_path, db.run(run_id))
    assert (db.run(run_id).state, db.run(run_id).cause) == (store.INTERRUPTED, Cause.DIED)
    assert not mark_dead(db, tmp_path, db.run(run_id))


def test_the_standby_ends_with_its_input(db, work):
    process = work("--standby")
    out, err = process.communicate("", timeout=LONGEST_S)
    assert out in ("", "forks\n") and err == ""
    assert process.returncode == 0


def test_the_standby_starts_what_it_is_told_and_tells_how_that_ended(db, new_run, endless, work, tiny, tmp_path, until):
    runs = [new_run(tiny()), new_run(tiny()), new_run(endless())]
    standby = Standby(work("--standby", text=False))
    until(lambda: standby.pid and standby.forks, "a standby that forks")
    workers = [standby.launch(run_id, 1, "") for run_id in runs]
    until(lambda: [worker.poll() for worker in workers[:2]] == [0, 0])
    assert [db.run(run_id).state for run_id in runs[:2]] == [store.FINISHED] * 2
    until(lambda: db.run(runs[2]).step > 0)
    workers[2].kill()
    assert until(workers[2].poll) == -signal.SIGKILL
    for run_id in runs:
        (pid,) = re.findall(r"in process (\d+)", RunFolder(tmp_path, run_id).log.read_text())
        assert int(pid) != standby.pid, "each in a process of its own"
    standby.close()
    assert standby.pid is None


def test_a_standby_that_hangs_is_ended_with_the_first_run_that_it_does_not_start(db, new_run, tiny, work, until):
    standby = Standby(work("--standby", text=False))
    until(lambda: standby.pid and standby.forks, "a standby that forks")
    os.kill(standby.process.pid, signal.SIGSTOP)
    worker = standby.launch(new_run(tiny()), 1, "")
    assert worker.poll() is None and standby.can_launch
    worker.kill()
    until(lambda: standby.process.poll() == -signal.SIGKILL, "the end of the standby")
    assert worker.is_orphan and not standby.can_launch


def test_workers_outlive_their_standby_and_are_then_nobodys(db, new_run, endless, work, tmp_path, until):
    run_id = new_run(endless())
    standby = Standby(work("--standby", text=False))
    worker = standby.launch(run_id, 1, "")
    until(lambda: db.run(run_id).step > 0)
    assert not worker.is_orphan and worker.poll() is None
    standby.process.kill()
    standby.process.wait()
    assert worker.is_orphan and worker.poll() is None and standby.pid is None and not standby.can_launch
    step = db.run(run_id).step
    until(lambda: db.run(run_id).step > step)
    db.want(run_id, "stop")
    until(lambda: db.run(run_id).state == store.STOPPED)


def test_a_run_in_other_hands_is_left_alone(db, new_run, tiny, tmp_path):
    run_id = new_run(tiny())
    lock = locks.acquire(RunFolder(tmp_path, run_id).lock)
    assert execute(tmp_path, run_id, THREADS, Interruption()) is None
    lock.release()
    assert db.run(run_id).state == store.STARTING
    assert db.events(run_id) == []


@pytest.mark.parametrize("state", [store.PAUSED, store.FINISHED, store.INTERRUPTED])
def test_a_run_that_waits_for_its_owner_is_not_trained(db, new_run, tiny, tmp_path, state):
    run_id = new_run(tiny(), state=state)
    assert execute(tmp_path, run_id, THREADS, Interruption()) is None
    assert (db.run(run_id).state, db.run(run_id).step) == (state, 0)


@pytest.mark.parametrize(("wanted", "state"), [("pause", store.PAUSED), ("stop", store.STOPPED)])
def test_what_was_wanted_before_it_began_is_obeyed(db, new_run, endless, tmp_path, wanted, state):
    run_id = new_run(endless())
    db.want(run_id, wanted)
    outcome = execute(tmp_path, run_id, THREADS, Interruption())
    assert (outcome.state, db.run(run_id).state) == (state, state)
    assert outcome.cause == db.run(run_id).cause == Cause.OWNER
    assert db.run(run_id).step < 100


def test_the_outcome_lies_beside_the_run_and_is_gone_while_it_trains(db, new_run, tiny, tmp_path):
    run_id, there = new_run(tiny()), []
    path = RunFolder(tmp_path, run_id).outcome
    outcome = execute(tmp_path, run_id, THREADS, Interruption(), lambda event: there.append(path.exists()))
    assert Outcome.read(path) == outcome and outcome.cause == Cause.STEPS == db.run(run_id).cause
    assert (outcome.step, outcome.n_probes >= 1, outcome.seconds >= outcome.checkpoint_s > 0) == (60, True, True)
    db.change_state(run_id, store.INTERRUPTED, [store.FINISHED])
    assert db.enqueue(run_id, store.RESUMABLE)
    execute(tmp_path, run_id, THREADS, Interruption(), lambda event: there.append(path.exists()))
    assert not any(there) and path.exists()


def test_an_outcome_keeps_what_is_not_finite(tmp_path):
    Outcome("diverged", Cause.DIVERGED, "why", 3, 1.0, float("inf"), None).publish(tmp_path / "outcome.json")
    assert Outcome.read(tmp_path / "outcome.json").train_loss == float("inf")


def test_a_cause_of_another_version_is_none():
    assert Cause("from the future") is Cause.NONE


def test_a_listener_hears_every_recorded_event(db, new_run, tiny, tmp_path):
    run_id, heard = new_run(tiny()), []
    execute(tmp_path, run_id, THREADS, Interruption(), heard.append)
    rows = db.events(run_id)
    assert [(event.kind, event.step) for event in heard] == [(row.kind, row.step) for row in rows]
    run = db.run(run_id)
    last = [event for event in heard if event.kind == "progress"][-1]
    assert (run.train_loss, run.step, run.seconds >= last.seconds) == (last.loss, 60, True)
    wholes = [event.loss for event in heard if event.kind == "validation" and event.whole]
    parts = [event.loss for event in heard if event.kind == "validation" and not event.whole]
    assert [run.val_loss] == wholes
    assert run.best_eval_loss == min(parts)


def test_a_diverging_run_says_so(db, new_run, tiny, tmp_path):
    reckless = {"optim.name": "sgd", "optim.lr": 100.0, "optim.warmup_steps": 0, "optim.grad_clip": None}
    run_id = new_run(tiny(**reckless, **{"train.max_steps": 3000}))
    outcome = execute(tmp_path, run_id, THREADS, Interruption())
    run = db.run(run_id)
    assert outcome.state == run.state == store.DIVERGED
    assert "lower learning rate" in run.reason


@pytest.mark.parametrize("error", [RuntimeError("boom\nmore"), KeyError("x"), OSError(errno.EIO, "bad sector"), AssertionError()])
def test_whatever_happens_is_recorded(db, new_run, tiny, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(worker.Work, "prepare", fail)
    run_id = new_run(tiny())
    outcome = execute(tmp_path, run_id, THREADS, Interruption())
    assert (outcome.state, db.run(run_id).state) == (store.FAILED, store.FAILED)
    assert db.run(run_id).reason == explain(error) != "" and db.run(run_id).cause == outcome.cause == Cause.ERROR
    assert Outcome.read(RunFolder(tmp_path, run_id).outcome) == outcome
    assert "Traceback" in RunFolder(tmp_path, run_id).log_tail()
    assert not locks.is_locked(RunFolder(tmp_path, run_id).lock)


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_the_others_intact(db, new_run, tiny, tmp_path, monkeypatch):
    from playground.training import checkpoints

    save_file = checkpoints.save_file

    def full(tensors, name, metadata):
        if ".000040.state.safetensors" in name:
            raise SafetensorError(f"Error while serializing: I/O error: No space left on device (os error {errno.ENOSPC})")
        save_file(tensors, name, metadata)

    monkeypatch.setattr(checkpoints, "save_file", full)
    run_id = new_run(tiny())
    execute(tmp_path, run_id, THREADS, Interruption())
    run = db.run(run_id)
    assert run.state == store.FAILED
    assert run.reason.startswith("the disk is full; earlier checkpoints are intact") and run.cause == Cause.DISK_FULL
    folder = RunFolder(tmp_path, run_id).checkpoints
    assert sorted(path.name for path in folder.glob("*.json")) == ["000000.json", "000020.json"]
    monkeypatch.setattr(checkpoints, "save_file", save_file)
    assert db.enqueue(run_id, store.RESUMABLE)
    assert execute(tmp_path, run_id, THREADS, Interruption()).state == store.FINISHED


def test_an_end_that_cannot_be_recorded_is_told_by_the_exit_status(db, new_run, tiny, tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise StoreReadOnly(db.path, "attempt to write a readonly database")

    run_id = new_run(tiny())
    monkeypatch.setattr(worker, "LAST_WORD_S", 0.0)
    monkeypatch.setattr(Store, "append", read_only)
    monkeypatch.setattr("sys.argv", ["worker", "--root", str(tmp_path), "--run", run_id, "--threads", "1"])
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    assert worker.main() == worker.NOT_RECORDED
    assert db.run(run_id).state == store.RUNNING
    assert mark_dead(db, tmp_path, db.run(run_id), how_it_died(worker.NOT_RECORDED))
    assert "could not record why: the disk was full, read-only or locked, at step 0" in db.run(run_id).reason
    assert db.run(run_id).cause == Cause.UNRECORDED


def test_what_dead_processes_left_is_gone_when_the_run_goes_on(db, new_run, tiny, tmp_path):
    run_id = new_run(tiny(**{"train.max_steps": 40}))
    folder = RunFolder(tmp_path, run_id)
    execute(tmp_path, run_id, THREADS, Interruption())
    left = [folder.path / ".tokenizer.json.a.unfinished", folder.checkpoints / ".000060.json.a.unfinished"]
    left += [folder.checkpoints / "000060.safetensors", folder.checkpoints / "000060.state.safetensors"]
    for path in left:
        path.write_bytes(b"half")
    (folder.checkpoints / "000040.json").unlink()
    db.change_state(run_id, store.INTERRUPTED, [store.FINISHED])
    assert db.enqueue(run_id, store.RESUMABLE)
    assert execute(tmp_path, run_id, THREADS, Interruption()).state == store.FINISHED
    assert [path for path in left if path.exists()] == []
    assert sorted(path.name for path in folder.checkpoints.glob("*.json")) == ["000000.json", "000020.json", "000040.json"]


def test_a_checkpoint_of_which_nobody_was_told_is_told_when_the_run_goes_on(db, new_run, tiny, tmp_path):
    run_id = new_run(tiny())
    execute(tmp_path, run_id, THREADS, Interruption())
    with db._writing() as connection:
        connection.execute("DELETE FROM events WHERE kind='checkpoint' AND step=60")
    db.change_state(run_id, store.INTERRUPTED, [store.FINISHED])
    assert db.enqueue(run_id, store.RESUMABLE)
    outcome = execute(tmp_path, run_id, THREADS, Interruption())
    assert 60 in [row.step for row in db.events(run_id, kinds=["checkpoint"])]
    assert outcome.train_loss == db.run(run_id).train_loss


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_several_runs_as_one_program_are_ordinary_runs_each_with_its_own_end(db, new_run, tiny, tmp_path):
    """One is stopped by its owner: its end is recorded at once, and its lock free while the others go on."""
    ids = [new_run(tiny(**{"model.dropout": 0.0, "train.seed": seed, "train.max_steps": 200})) for seed in (1, 2, 3)]
    seen: dict[str, list] = {run_id: [] for run_id in ids}

    def listener(run_id: str):
        def hear(event) -> None:
            seen[run_id].append(event)
            if run_id == ids[0] and event.kind == "progress":
                if event.step == 20:
                    db.want(ids[1], "stop")
                held.append([locks.is_locked(RunFolder(tmp_path, each).lock) for each in ids])

        return hear

    held: list[list[bool]] = []
    outcomes = worker.execute_together(tmp_path, {run_id: listener(run_id) for run_id in ids}, 1, Interruption())
    runs = [db.run(run_id) for run_id in ids]
    assert [run.state for run in runs] == [store.FINISHED, store.STOPPED, store.FINISHED]
    assert [outcomes[run.id].state for run in runs] == [run.state for run in runs]
    assert runs[1].step < 200 and runs[0].step == runs[2].step == 200
    assert held[0] == [True] * 3 and held[-1] == [True, False, True]
    for run in runs:
        rows = db.events(run.id)
        assert [(event.kind, event.step) for event in seen[run.id]] == [(row.kind, row.step) for row in rows]
        assert run.threads == 1 and run.val_loss is not None
        assert (RunFolder(tmp_path, run.id).checkpoints / f"{run.step:06d}.json").exists()
    assert len({run.train_loss for run in runs}) == 3
    assert db.enqueue(ids[1], store.RESUMABLE)
    assert execute(tmp_path, ids[1], 1, Interruption()).state == store.FINISHED, "what was stopped goes on by itself"


def test_one_of_several_that_cannot_begin_leaves_the_others_alone(db, new_run, tiny, tmp_path):
    ids = [new_run(tiny(**{"model.dropout": 0.0, "train.seed": seed})) for seed in (1, 2)]
    (RunFolder(tmp_path, ids[0]).path / "config.json").write_text("{")
    outcomes = worker.execute_together(tmp_path, dict.fromkeys(ids), 1, Interruption())
    assert [outcomes[run_id].state for run_id in ids] == [store.FAILED, store.FINISHED]
    assert db.run(ids[0]).reason and not locks.is_locked(RunFolder(tmp_path, ids[0]).lock)


def test_what_ends_the_program_is_recorded_for_every_run_in_it(db, new_run, tiny, tmp_path, monkeypatch):
    from playground.training.stacked import Group

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Group, "step", fail)
    ids = [new_run(tiny(**{"model.dropout": 0.0, "train.seed": seed})) for seed in (1, 2)]
    worker.execute_together(tmp_path, dict.fromkeys(ids), 1, Interruption())
    assert [(db.run(run_id).state, db.run(run_id).reason.split(";")[0]) for run_id in ids] == [(store.FAILED, "out of memory")] * 2


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Cause.DISK_FULL, "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), Cause.READ_ONLY, "the folder of the runs is read-only now"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Cause.MEMORY, "out of memory"),
        (MemoryError(), Cause.MEMORY, "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), Cause.MEMORY, "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), Cause.MEMORY, "out of memory"),
        (ValueError("first line\nsecond line"), Cause.ERROR, "ValueError: first line"),
        (AssertionError(), Cause.ERROR, "AssertionError"),
    ],
)
def test_reasons_are_for_people_and_causes_for_programs(error, cause, words):
    assert explain(error).startswith(words) and cause_of(error) == cause

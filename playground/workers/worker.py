"""One run in one process: `python -m playground.workers.worker --root ROOT --run ID`.

With `--standby` it is the process of `standby.py` that starts others. It holds the run's lock while it lives, does
what the store says is wanted of the run, and goes on when the page or the app is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from playground.runs import store
from playground.runs.folder import RunFolder
from playground.runs.store import LOCK_WAIT_S, Buffer, Run, Store, StoreBusy
from playground.system import cores, locks, memory
from playground.system.cores import n_cpus
from playground.system.files import NO_ROOM, NOT_WRITABLE, publish, sweep
from playground.training import paths
from playground.training.outcome import Cause, Outcome
from playground.workers.pulse import Pulse

LAST_WORD_S = 60.0  # how long to try to record the end of a run
NOT_RECORDED = os.EX_IOERR  # the exit status of a worker that could not record how its run ended

# How torch words running out of memory.
NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "failed to map segment", "bad_alloc")


class Interruption:
    """Notes a signal that asks the process to end. `wanted`: what is then wanted of the run, None before the signal."""

    def __init__(self) -> None:
        self.wanted: str | None = None

    def on(self, number: int, wanted: str) -> None:
        def note(*_):
            self.wanted = wanted

        signal.signal(number, note)


class StoreLink:
    """The training loop's connection to the store."""

    def __init__(self, db: Store, run: Run, interruption: Interruption, listener: Callable | None = None):
        from playground.training.loop import Orders

        self.db, self.run_id, self.interruption, self.listener = db, run.id, interruption, listener
        self.buffer = Buffer(db, run.id)
        self.best = run.best_eval_loss
        self.last = Orders()
        self.not_recorded = ""  # how the run ended, where that could not be recorded

    def emit(self, event) -> None:
        self.buffer.add(event, **self._progress(event))
        if self.listener:
            self.listener(event)

    def sync(self):
        from playground.training.loop import Orders

        self.buffer.flush()
        if self.interruption.wanted:
            return Orders(self.interruption.wanted, self.last.probe_text)
        try:
            run = self.db.run(self.run_id)
        except StoreBusy:
            return self.last
        self.last = Orders(run.wanted, run.probe_text, run.why, Cause(run.wanted_by))
        return self.last

    def flush(self) -> None:
        self.buffer.flush(LOCK_WAIT_S)

    def _progress(self, event) -> dict:
        """The columns of the run's row that an event changes."""
        match event.kind:
            case "progress":
                return {"step": event.step, "seconds": event.seconds, "train_loss": event.loss, "tokens_per_s": event.tokens_per_s}
            case "validation" if event.whole:
                return {"val_loss": event.loss}
            case "validation":
                self.best = event.loss if self.best is None or not self.best <= event.loss else self.best
                return {"eval_loss": event.loss, "best_eval_loss": self.best}
        return {}


def execute(
    root: Path, run_id: str, threads: int, interruption: Interruption, listener: Callable | None = None, *, watched: bool = False
) -> Outcome | None:
    """Train a run to its end in this process; returns its Outcome, or None where another process has it.

    However the run ends, the store says how and, in words for people, why. A `watched` process shows a heartbeat, and the
    supervisor may kill it when it hangs; a process in somebody's terminal shows none and is never killed. Raises EndNotRecorded.
    """
    with contextlib.ExitStack() as held:
        work = _take(held, root, run_id, interruption, listener)
        if work is None:
            return None
        if watched:
            Pulse(work.lock).start()
        try:
            end = work.prepare(threads).run()
        except Exception as error:  # whatever the error, the run must not be left as running
            end = error
        outcome = work.record_end(end)
        if work.link.not_recorded:
            raise EndNotRecorded(f"the run ended, which could not be recorded: {work.link.not_recorded}")
        return outcome


def execute_together(root: Path, listeners: Mapping[str, Callable | None], threads: int, interruption: Interruption) -> dict[str, Outcome]:
    """Train several runs with models of one shape as one stacked model in this process, which holds all their locks. `listeners`
    has the run ids, each with its listener. Each run can be paused or stopped by itself. Returns their Outcomes by run id."""
    from playground.training.stacked import train_together

    outcomes, loops = {}, {}
    with contextlib.ExitStack() as held:
        works = [_take(held, root, run_id, interruption, listener) for run_id, listener in listeners.items()]
        works = [work for work in works if work is not None]
        for work in works:
            try:
                loops[work.prepare(threads, share=1 / len(works))] = work
            except Exception as error:  # as in `execute`
                outcomes[work.run.id] = work.record_end(error)
        try:
            for loop, end in train_together(list(loops)):
                work = loops.pop(loop)
                outcomes[work.run.id] = work.record_end(end)
        except Exception as error:  # it ends all runs that are left
            for work in loops.values():
                outcomes[work.run.id] = work.record_end(error)
    return outcomes


def _take(held: contextlib.ExitStack, root: Path, run_id: str, interruption: Interruption, listener: Callable | None) -> Work | None:
    """Take a run's lock; None where another process has it, or the run's state is not one to train in."""
    folder, db = RunFolder(root, run_id), Store(root)
    lock = locks.acquire(folder.lock, patience_s=2.0)
    if lock is None:
        return None
    held.callback(lock.release)
    run = db.run(run_id)
    if run.state not in (*store.ACTIVE, store.QUEUED):
        lock.release()
        return None
    folder.outcome.unlink(missing_ok=True)
    return Work(root, folder, db, run, StoreLink(db, run, interruption, listener), lock)


@dataclass(frozen=True)
class Work:
    """A run whose lock this process holds until its end is recorded."""

    root: Path
    folder: RunFolder
    db: Store
    run: Run
    link: StoreLink
    lock: locks.Lock

    def prepare(self, threads: int, share: float = 1.0):
        """The run's training loop, restored from the newest checkpoint if there is one. Raises ConfigError, CheckpointError, OSError."""
        import torch

        from playground.data import dataset
        from playground.training.checkpoints import Checkpoints
        from playground.training.devices import choose_device
        from playground.training.errors import CheckpointError
        from playground.training.events import Notice
        from playground.training.loop import Loop
        from playground.training.state import TrainState

        folder, run, config = self.folder, self.run, self.folder.read_config()
        # Float sums depend on the number of threads, so a run keeps the number it began with.
        torch.set_num_threads(run.threads or threads)
        memory.keep()
        data = dataset.load(config.data, self.root)
        _check_data(folder, data)
        state = TrainState(config, data, choose_device(config.train.device))
        checkpoints = Checkpoints(folder.checkpoints)
        newest, said = checkpoints.newest_to_resume(), ""
        if newest is not None:
            state.restore(checkpoints, newest)
        elif run.parent is None and run.parent_step is not None:
            raise CheckpointError("the run from which this one was to start was deleted")
        elif run.parent is not None:
            said = self._begin_from_parent(state, run)
        checkpoints.drop_after(state.steps_done)
        loop = Loop(state, folder.path, self.link, share=share)
        _drop_probes_after(folder, state.steps_done)
        sweep(folder.path)
        if run.probe_text is not None:
            loop.set_probe(run.probe_text)
        threads, device = torch.get_num_threads(), state.device.type
        self.db.begin(run.id, step=state.steps_done, threads=threads, device=device, probe_text=loop.probe_text)
        self.link.best = self.db.run(run.id).best_eval_loss
        if newest is not None:
            self._go_on(loop, newest)
        if said:
            self.link.emit(Notice(0, said))
        return loop

    def _begin_from_parent(self, state, run: Run) -> str:
        """Start from a checkpoint of another run; where its training state is gone, or is of another optimizer or of other data, from its
        weights alone, which is returned in words."""
        from playground.training.checkpoints import Checkpoints
        from playground.training.errors import CheckpointError

        folder = RunFolder(self.root, run.parent or "")
        parent, before, now = Checkpoints(folder.checkpoints), folder.read_config(), state.config
        infos = {info.step: info for info in parent.list()}
        last = parent.newest_to_resume() if run.parent_step is None else infos.get(run.parent_step)
        if last is None:
            raise CheckpointError(f"run {run.parent}, which this one continues, has no such checkpoint left")
        same = (before.optim.name, before.data, before.width, before.train.batch_size) == (
            now.optim.name, now.data, now.width, now.train.batch_size
        )  # fmt: skip
        if same and parent.state_path(last.step).exists():
            order = state.batches.state
            state.start_from(parent, last)
            if before.train.order_seed != now.train.order_seed:
                state.batches.state = order
                return f"starts from step {last.step:,} with the order of its own seed"
            return ""
        state.start_from_weights(parent, last.step)
        return f"starts from the weights of step {last.step:,}; the optimizer and the order of the data begin anew"

    def _go_on(self, loop, newest) -> None:
        """Restore the losses known at the checkpoint. Emit its event if the process died between saving it and recording that."""
        from playground.training.events import Checkpoint

        loop.train_loss, loop.eval_loss = newest.train_loss, newest.eval_loss
        if newest.step not in [row.step for row in self.db.events(self.run.id, kinds=[Checkpoint.kind])]:
            self.link.emit(Checkpoint(newest.step, train_loss=newest.train_loss, eval_loss=newest.eval_loss))

    def record_end(self, end: Outcome | Exception) -> Outcome:
        """Record in a file and in the store how the run ended, given its Outcome or an error; returns the Outcome."""
        db, run = self.db, self.run
        if isinstance(end, Outcome):
            outcome, final = end, {"step": end.step, "seconds": end.seconds}
        else:
            _log_traceback(self.folder, end)
            outcome, final = self._failure(end), {}
        with contextlib.suppress(OSError):  # the disk may be full
            outcome.publish(self.folder.outcome)
        if outcome.state == store.QUEUED:
            change_state = partial(db.yield_turn, run.id, outcome.reason, outcome.cause, **final)
        else:
            change_state = partial(
                db.change_state, run.id, outcome.state, (*store.ACTIVE, store.QUEUED), outcome.reason, outcome.cause, **final
            )
        recorded = _record(self.link.buffer, change_state)
        self.lock.release()
        self.link.not_recorded = "" if recorded else outcome.reason
        return outcome

    def _failure(self, error: Exception) -> Outcome:
        """The outcome of a run that an error ended, with the progress last recorded in the store."""
        try:
            self.link.buffer.flush()
            now = self.db.run(self.run.id)
        except (StoreBusy, OSError):
            now = self.run
        cause, reason = cause_of(error), explain(error)
        ended = Outcome(store.FAILED, cause, reason, now.step, now.seconds, now.train_loss, now.val_loss)
        return replace(ended, tokens_per_s=now.tokens_per_s or 0.0, eval_loss=now.eval_loss)


def _log_traceback(folder: RunFolder, error: Exception) -> None:
    """Write the traceback to the run's log, also when it trains in a terminal. Ignores errors, for the disk may be full."""
    with contextlib.suppress(OSError), open(folder.log, "a") as log:
        traceback.print_exception(error, file=log)


def _check_data(folder: RunFolder, data) -> None:
    """Save the tokenizer and a digest of the data with the run at its start; later raise CorpusError if they have changed."""
    saved, digest = data.tokenizer.to_json(), data.about.digest
    if not folder.data_digest.exists():
        publish(folder.tokenizer, saved.encode())
        publish(folder.data_digest, digest.encode())
    elif folder.tokenizer.read_text() != saved or folder.data_digest.read_text() != digest:
        from playground.data.errors import CorpusError

        raise CorpusError("the data have changed since this run began (another Python version?); start a new run")


def _drop_probes_after(folder: RunFolder, step: int) -> None:
    for probe in paths.all_probes(folder.probes):
        if probe.step > step:
            probe.path.unlink(missing_ok=True)


class EndNotRecorded(OSError):
    """The worker could not record how its run ended: for `LAST_WORD_S` the database was locked or could not be written."""


def _record(buffer: Buffer, change_state: Callable[[], object]) -> bool:
    """Record the remaining events and the end of the run. Retries for `LAST_WORD_S`, in which the database may be unlocked or the
    disk freed; returns whether it is recorded."""
    deadline = time.monotonic() + LAST_WORD_S
    while True:
        try:
            if buffer.flush(wait_s=2.0):
                change_state()
                return True
        except (StoreBusy, OSError) as error:
            say(f"the end of the run is not recorded yet: {error}")
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)


def say(text: str) -> None:
    """Print a line to the log. A full disk, which has no room for it, is no reason to end."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def cause_of(error: BaseException) -> Cause:
    """Why a run failed, as a code."""
    number = error.errno if isinstance(error, OSError) else None
    if number in NO_ROOM:
        return Cause.DISK_FULL
    if number in NOT_WRITABLE:
        return Cause.READ_ONLY
    # Torch raises a RuntimeError when memory runs out; only the message tells it from others.
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(words in str(error).lower() for words in NO_MEMORY):
        return Cause.MEMORY
    return Cause.ERROR


def explain(error: BaseException) -> str:
    """Why a run failed, for people; the log has the rest."""
    match cause_of(error):
        case Cause.DISK_FULL:
            return "the disk is full; earlier checkpoints are intact. Delete runs that are no longer needed, then resume"
        case Cause.READ_ONLY if isinstance(error, OSError):
            state = "is read-only now" if error.errno == errno.EROFS else "may not be written any more"
            return f"the folder of the runs {state}; earlier checkpoints are intact. Make it writable, then resume"
        case Cause.MEMORY:
            return "out of memory; try a smaller batch, context or width"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def warm_up() -> None:
    """Import what a run needs and do one training step on the default device, so that a run's first step is quick."""
    import numpy as np

    from models.config import CompleteModel
    from playground.config.run import CompleteRun
    from playground.data.dataset import TextData
    from playground.data.tokenizers import ByteTokenizer
    from playground.training.devices import choose_device
    from playground.training.loop import Loop  # noqa: F401  (imported for its time)
    from playground.training.state import TrainState

    config = CompleteRun(model=CompleteModel(vocab_size=256, n_layer=1))
    ids = np.zeros(1000, dtype=np.uint8)
    with contextlib.suppress(RuntimeError):  # the GPU may be full; the run will report it
        TrainState(config, TextData(ids, ids, ByteTokenizer()), choose_device("auto")).step().loss.item()


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m playground.workers.worker")
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--run")
    parser.add_argument("--threads", type=int, default=n_cpus())
    parser.add_argument("--cores", default="", help="numbers with commas between; left out: all")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--standby", action="store_true")
    args = parser.parse_args()
    cores.yield_to_others(args.nice)
    memory.end_me_first()
    if args.standby:
        return stand_by(args.root, args.threads)
    return train(args.root, args.run, args.threads, args.cores)


def stand_by(root: Path, threads: int) -> int:
    """Import torch and start the workers of the runs that standard input names; returns the exit status."""
    import torch

    from playground.workers import speed, standby

    torch.set_num_threads(1)  # before the first product: torch's threads do not survive a fork
    warm_up()
    standby.apart(lambda: (torch.set_num_threads(threads), speed.measure_once(root, threads)))
    return standby.serve(root, partial(train, root))


def train(root: Path, run_id: str, threads: int, pinned: str) -> int:
    """Train a run in this process, on the cores with these numbers (with commas between; empty: all); returns the exit status."""
    cores.pin([int(core) for core in pinned.split(",") if core])
    interruption = Interruption()
    interruption.on(signal.SIGTERM, "interrupt")
    say(f"{time.strftime('%F %T')} run {run_id} in process {os.getpid()}")
    try:
        outcome = execute(root, run_id, threads, interruption, watched=True)
    except EndNotRecorded as error:
        say(str(error))
        return NOT_RECORDED
    if outcome is None:
        say("another process trains this run, or it does not wait to be trained")
    else:
        say(f"{outcome.state} at step {outcome.step:,}: {outcome.reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

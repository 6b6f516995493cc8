"""Queues, launches and controls runs. Everything that steers a run goes through here.

Every method that changes something takes the visitor and checks their rights. Knows nothing of pages.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from models.knobs import ConfigError, Problem, parse
from playground.config.experiment import Experiment, configs_of
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import experiments, store
from playground.runs.access import NotAllowed, Visitor
from playground.runs.creation import add_run, check_early, check_fork, check_probe, checked, continuation, fetch, further
from playground.runs.experiments import Plans
from playground.runs.folder import RunFolder, clean_name
from playground.runs.store import Member, NoSuchRun, Run, Store
from playground.system import cores, files, locks
from playground.system.cores import calm_threads
from playground.system.files import REPOSITORY
from playground.training.outcome import Cause
from playground.workers import pulse, queueing
from playground.workers.admission import Admission, CannotDo, QueueFull, WrongState, bytes_of, must_have_ended
from playground.workers.audience import Audience
from playground.workers.director import RUN, STOP, Director, threads_each
from playground.workers.enforcing import Enforcer
from playground.workers.leftovers import DELETED, Death, clear_away, how_it_died, mark_dead
from playground.workers.standby import Standby, Worker

TICK_S = 0.2
PATIENCE_S = 20.0  # for data that are prepared; whoever asks again joins
Prepare = Callable[[RunConfig, Visitor, float], None]
MOST_AT_ONCE, MOST_KEPT = 3, 50  # experiments of one person, under way and in all
START_PATIENCE_S = 15.0
STANDBY_DELAY_S = 3.0
# A run has ended or was deleted, or the queue is full: the director tries it again. One that a terminal trained is the host's.
NOT_NOW = (CannotDo, NotAllowed, NoSuchRun)
LOCKED_S = 2.0  # after which a database that stays locked is taken as a reason to look for a worker that hangs


def queue_of(db: Store) -> list[Run]:
    """The runs that wait, the next to start first."""
    return queueing.in_turn(db.runs_in([store.QUEUED]), db.runs_in(store.ACTIVE), db.last_starts())


def threads_for(settings: Settings, n_running: int) -> int:
    """Threads of one more run beside `n_running` others; chosen once per run, because float sums depend on their number."""
    return max(1, settings.n_cpus // (n_running + 1))


class Supervisor:
    """One per app. `start` begins to serve the queue in a thread; only one app per root serves it. `audience` knows which runs
    are watched. `prepare` gets the data of a run ready for this visitor within so many seconds, or raises NotReady; an app sets one that
    has a line for that, without which they are fetched and prepared by whoever asks, however long it takes."""

    def __init__(self, settings: Settings, db: Store, audience: Audience | None = None):
        self.settings, self.db, self.audience = settings, db, audience or Audience()
        self.enforcer = Enforcer(settings.root, db, self.audience)
        self.admission, self._admitting = Admission(db, self.enforcer.scale), threading.Lock()
        self.plans = Plans(db, self.limits)
        self.prepare: Prepare = lambda config, visitor, patience_s: fetch(config, self.limits())
        self.director = Director(db, partial(self.submit, patience_s=0.0), self.resume, self.halt_runs, self.plans, threads_each(settings))
        self._children: dict[str, subprocess.Popen | Worker] = {}
        self._ended: dict[str, int] = {}  # exit status
        self._hung: dict[str, Death] = {}  # ended here, and not recorded yet
        self._heartbeat_s = settings.heartbeat_s
        self._cores: dict[str, list[int]] = {}  # of each active run; all cores where another app has launched it
        self._silence = pulse.Silence()
        self._said = ""
        self._standby: Standby | None = None
        self._last_launch = float("-inf")
        self._missing_since: dict[str, float] = {}
        self._stopping, self._kick = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lock: locks.Lock | None = None

    # Steering.

    def limits(self) -> Settings:
        """The settings with the limits that the host has set meanwhile."""
        return self.settings.with_limits(self.db.limits())

    def submit(
        self, config: RunConfig | dict, visitor: Visitor, *, name: str = "", preset: str = "", parent: str | None = None,
        private: bool = False, member: Member | None = None, threads: int | None = None, parent_step: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> str:  # fmt: skip
        """Queue a new run and return its id; raises ConfigError, NotAllowed or CannotDo and starts nothing. With a `parent_step` it is a
        fork: it starts from that checkpoint of its parent, with whatever the weights allow changed."""
        visitor.must_be_known()
        config, settings = config if isinstance(config, RunConfig) else parse(RunConfig, config), self.limits()
        self._check_room(visitor, settings)
        check_early(config, settings)
        self.prepare(config, visitor, patience_s)
        completed = checked(config, settings)
        if parent is not None and parent_step is not None:
            forked = self.db.run(parent)
            if not visitor.may_see(forked):
                raise NoSuchRun(parent)
            check_fork(settings.root, forked, parent_step, completed)
            private = private or forked.private
        with self._admitting:  # preparing the data may have taken minutes, in which others came
            self._check_room(visitor, settings)
            self.admission.check_memory(completed, settings)
            self.admission.note(visitor)
            run_id = add_run(
                self.db, settings.root, completed, visitor,
                state=store.QUEUED, name=name, preset=preset, parent=parent, private=private, member=member, threads=threads,
                parent_step=parent_step,
            )  # fmt: skip
        self._kick.set()
        return run_id

    def _check_room(self, visitor: Visitor, settings: Settings) -> None:
        self.admission.check_queue(visitor, settings)
        self.admission.check_disk(visitor, settings)

    def pause(self, run_id: str, visitor: Visitor, why: str = "", cause: Cause = Cause.NONE) -> None:
        """`why` and `cause`: the reason to record, where it is not simply the visitor's wish."""
        self._ask(run_id, visitor, "pause", store.PAUSED, why, cause)

    def stop(self, run_id: str, visitor: Visitor) -> None:
        self._ask(run_id, visitor, "stop", store.STOPPED)

    def resume(self, run_id: str, visitor: Visitor) -> None:
        """Put a run that was paused, stopped, interrupted or failed back into the queue."""
        run = self._own(run_id, visitor)
        if run.state not in store.RESUMABLE:
            advice = "continue it as a new run" if run.state == store.FINISHED else "change the configuration and train a new one"
            raise WrongState(f"{run.name!r} is {run.state}" + ("" if run.state in store.IN_PROGRESS else f"; {advice}"))
        settings = self.limits()
        with self._admitting:
            if not visitor.is_host:  # who lets all go on that they have paused
                self.admission.check_queue(visitor, settings)
            self.admission.check_disk(visitor, settings)
            self.admission.check_memory(run.readable_config, settings)
            self.admission.note(visitor)
            if not self.db.enqueue(run_id, store.RESUMABLE):
                raise WrongState(f"{run.name!r} is not {run.state} any more")
        self._kick.set()

    def continue_run(self, run_id: str, visitor: Visitor, steps: int | None = None) -> str:
        """Train a finished or stopped run further, as a new run that starts from its last checkpoint."""
        visitor.must_be_known()
        run = self._own(run_id, visitor)
        must_have_ended(run)
        config = continuation(self.settings.root, run, steps)
        return self.submit(config, visitor, name=further(run), preset=run.preset, parent=run_id, private=run.private)

    def submit_experiment(self, experiment: Experiment, visitor: Visitor) -> str:
        """Keep an experiment and train its runs, one of them waiting in the queue at a time; returns its id. Raises ConfigError with the
        problems of all arms, NotAllowed or CannotDo, and starts nothing then."""
        visitor.must_be_known()
        settings = self.limits()
        self._check_room(visitor, settings)
        self._check_experiments(visitor)
        arms, until = configs_of(experiment), time.monotonic() + PATIENCE_S
        experiments.check_early(arms, settings)
        for config in arms.values():
            self.prepare(config, visitor, max(0.0, until - time.monotonic()))
        experiments.planned(experiment, settings)
        with self._admitting:
            self._check_experiments(visitor)
            self.admission.note(visitor)
            experiment_id = experiments.add(self.db, experiment, visitor, RUN)
        self._kick.set()
        return experiment_id

    def _check_experiments(self, visitor: Visitor) -> None:
        """Raises QueueFull where a person keeps, or has begun, more experiments than one can."""
        kept = self.db.experiments()
        mine = [each for each in kept if each.owner == visitor.id]
        if sum(each.wanted == RUN for each in mine) >= MOST_AT_ONCE and not visitor.is_host:
            raise QueueFull(f"{MOST_AT_ONCE} of your experiments are under way already; wait for one to end, or stop one")
        if len(mine) >= MOST_KEPT or len(kept) >= 20 * MOST_KEPT:
            raise QueueFull(f"{len(mine) if len(mine) >= MOST_KEPT else len(kept)} experiments are kept already; delete one first")

    def delete_experiment(self, experiment_id: str, visitor: Visitor) -> None:
        """Forget an experiment that does not train; its runs stay ordinary runs."""
        found = self._own_experiment(experiment_id, visitor)
        if found.wanted == RUN:
            raise WrongState("it is under way; stop it first")
        self.db.delete_experiment(experiment_id)

    def _own_experiment(self, experiment_id: str, visitor: Visitor) -> store.Experiment:
        found = self.db.experiment(experiment_id)
        if not visitor.is_host and visitor.id != found.owner:
            raise NotAllowed("only who began an experiment may steer it")
        return found

    def steer_experiment(self, experiment_id: str, visitor: Visitor, wanted: str) -> None:
        """Stop an experiment, its runs included, or let it go on with what is missing (`wanted`: stop or run). Those that were stopped
        with it are queued again by the director, also where their workers only stop later."""
        self._own_experiment(experiment_id, visitor)
        self.db.want_experiment(experiment_id, wanted)
        if wanted == STOP:
            self.halt_runs(experiment_id, visitor)
            return
        for run_id in self.db.members(experiment_id):
            with contextlib.suppress(*NOT_NOW):
                self.resume(run_id, visitor)

    def halt_runs(self, experiment_id: str, visitor: Visitor) -> None:
        """Stop those of an experiment's runs that wait or train."""
        for run_id in self.db.members(experiment_id):
            with contextlib.suppress(*NOT_NOW):
                self._ask(run_id, visitor, "stop", store.STOPPED, "stopped with its experiment", Cause.EXPERIMENT)

    def rename(self, run_id: str, visitor: Visitor, name: str) -> None:
        self._own(run_id, visitor)
        name = clean_name(name)
        if not name:
            raise CannotDo("a name needs at least one printable character")
        self.db.rename(run_id, name)

    def set_private(self, run_id: str, visitor: Visitor, private: bool) -> None:
        """Hide a run from everybody else, or show it again. One of an experiment, which everybody sees, cannot be hidden."""
        self._own(run_id, visitor)
        if private and self.db.experiment_of(run_id) is not None:
            raise CannotDo("it is a run of an experiment, which everybody can see; delete the experiment first")
        self.db.set_private(run_id, private)

    def delete(self, run_id: str, visitor: Visitor) -> None:
        """Remove a run that is not active, with all its files."""
        run = self._own(run_id, visitor)
        folder = RunFolder(self.settings.root, run_id)
        lock = locks.acquire(folder.lock, patience_s=0.5)
        if lock is None or run.state in store.ACTIVE:
            if lock is not None:
                lock.release()
            raise WrongState(f"{run.name!r} is {run.state}; stop it first")
        try:
            begun = self.db.runs_in([store.QUEUED, store.STARTING])
            waiting = [child for child in begun if child.parent == run_id and child.owner == run.owner]
            if waiting:
                raise WrongState(f"{waiting[0].name!r} is about to start from it; wait until it has")
            self._delete(folder)
        finally:
            lock.release()

    def _delete(self, folder: RunFolder) -> None:
        """Rename the folder first: if this process is killed half-way, the next app finds it and finishes the deletion."""
        aside = folder.path.with_name(f".{folder.path.name}{DELETED}")
        with files.claim(folder.path):
            folder.path.rename(aside)
            try:
                self.db.delete_run(folder.path.name)
            except BaseException:
                aside.rename(folder.path)
                raise
            files.remove(aside)

    def set_probe_text(self, run_id: str, visitor: Visitor, text: str) -> None:
        """Change the text that a run probes from now on; raises UnknownCharacters where its tokenizer cannot read the text."""
        self._own(run_id, visitor)
        folder = RunFolder(self.settings.root, run_id)
        config = folder.read_config()
        changed = parse(RunConfig, config.model_dump() | {"probe": config.probe.model_dump() | {"text": text}})
        if changed.probe.text is None:
            raise ConfigError([Problem("probe.text", "the probe text is empty; write at least one character")])
        check_probe(changed, self.settings.root)
        self.db.set_probe_text(run_id, text)

    def place_in_queue(self, run_id: str) -> int | None:
        """1 for the next to start; None where the run is not waiting."""
        ids = [run.id for run in queue_of(self.db)]
        return ids.index(run_id) + 1 if run_id in ids else None

    def _own(self, run_id: str, visitor: Visitor) -> Run:
        RunFolder(self.settings.root, run_id)
        run = self.db.run(run_id)
        visitor.must_own(run)
        return run

    def _ask(self, run_id: str, visitor: Visitor, wanted: str, state: str, why: str = "", cause: Cause = Cause.NONE) -> None:
        """Ask the run's worker to pause or stop; a run that still waits in the queue changes state at once."""
        run = self._own(run_id, visitor)
        who, cause = ("its owner", cause or Cause.OWNER) if visitor.is_owner_of(run) else ("the host", cause or Cause.HOST)
        by = f"{state} by {who}"
        while not self._asked(run_id, wanted, state, by, why, cause):
            run = self.db.run(run_id)
            if run.state not in (*store.IN_PROGRESS, *([store.PAUSED] if wanted == "stop" else [])):
                raise WrongState(f"{run.name!r} is {run.state}; there is nothing to {wanted}")

    def _asked(self, run_id: str, wanted: str, state: str, by: str, why: str, cause: Cause) -> bool:
        """Whether the run was told. It is not where it goes from the queue to a worker, or back, while it is being told."""
        return (
            self.db.change_state(run_id, state, [store.QUEUED], why or f"{by} while it waited", cause)
            or (wanted == "stop" and self.db.change_state(run_id, state, [store.PAUSED], why or f"{by} while paused", cause))
            or self.db.want(run_id, wanted, why or by, cause)
        )

    def standby_pid(self) -> int | None:
        """The id of the standby process, which will start the next run's worker and perhaps still imports torch."""
        return None if self._standby is None else self._standby.pid

    # Serving the queue.

    def start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="supervisor", daemon=True)
        self._thread.start()

    def shutdown(self) -> list[Run]:
        """Stop serving and end the standby; returns the runs that go on without the app."""
        self._stopping.set()
        self._kick.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        if self._standby is not None:
            self._standby.close()
        if self._lock is not None:
            self._lock.release()
        return self.db.runs_in(store.ACTIVE)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._lock is not None or self._take_over():
                    self._tick()
                    self._say("")
            except Exception as error:  # the thread must outlive any error: the next tick tries again
                known = isinstance(error, (store.StoreBusy, OSError))
                self._say(f"The queue waits: {error if known else repr(error)}")
            self._kick.wait(TICK_S)
            self._kick.clear()

    def _take_over(self) -> bool:
        """Begin to serve the queue unless another app does; returns whether this one does now."""
        path = self.settings.root / store.APP_LOCK
        self._lock = locks.acquire(path)
        if self._lock is None:
            found = pulse.holder(path)
            number = f" (process {found.pid})" if found else ""
            self._say(
                f"Another app{number} serves the queue of {self.settings.root}; this one shows the same, and takes over when it ends."
            )
            return False
        pulse.sign(self._lock)
        if self._said:
            self._say(f"This app serves the queue of {self.settings.root} now.")
            self._said = ""
        clear_away(self.db, self.settings.root)
        return True

    def _say(self, text: str) -> None:
        """Print a message on the terminal, once for as long as it stays the same."""
        if text and text != self._said:
            with contextlib.suppress(OSError):
                print(text, file=sys.stderr, flush=True)
        self._said = text

    def _tick(self) -> None:
        self._reap()
        try:
            active, settings = self.db.runs_in(store.ACTIVE, LOCKED_S), self.limits()
        except store.StoreBusy:
            for run_id in self._cores:  # perhaps one of them hangs and keeps it locked
                self._end_if_it_hangs(run_id)
            raise
        self._heartbeat_s = settings.heartbeat_s
        for run in active:
            self._check_alive(run)
        self.enforcer.enforce(active, settings)
        self.director.direct()
        self._launch_waiting(active, settings)
        self._keep_standby()

    def _keep_standby(self) -> None:
        """Start a standby process if there is none; not right after a launch, which would slow that run's first seconds."""
        if self.standby_pid() is None and time.monotonic() - self._last_launch > STANDBY_DELAY_S:
            self._standby = Standby(self._spawn("--standby", stdin=subprocess.PIPE, output=subprocess.PIPE, errors=subprocess.DEVNULL))

    def _reap(self) -> None:
        for run_id, process in list(self._children.items()):
            status = process.poll()
            if status is not None:
                self._ended[run_id] = status
            if status is not None or (isinstance(process, Worker) and process.is_orphan):
                del self._children[run_id]

    def _check_alive(self, run: Run) -> None:
        """Mark a run as interrupted when its worker no longer holds the lock, and end the worker when it hangs."""
        lock = RunFolder(self.settings.root, run.id).lock
        if locks.is_locked(lock):
            self._missing_since.pop(run.id, None)
            self._end_if_it_hangs(run.id)
            return
        self._silence.forget(lock)
        died = self._hung.get(run.id) or self._death_of(run)
        if died is not None and mark_dead(self.db, self.settings.root, run, died):
            self._forget(run.id)

    def _death_of(self, run: Run) -> Death | None:
        """How the worker of a run that does not hold its lock died; None while it may still take it, perhaps launched by an earlier
        app."""
        if run.id in self._children:  # on its way to the lock, or to its end
            patience = self._heartbeat_s
        else:
            patience = START_PATIENCE_S if run.state == store.STARTING and run.id not in self._ended else 2 * TICK_S
        if time.monotonic() - self._missing_since.setdefault(run.id, time.monotonic()) <= patience:
            return None
        if run.id in self._children:  # its exit status is not collected yet, so its process id cannot have been reused
            self._children[run.id].kill()
            return Death(Cause.NOT_STARTED, f"its worker process did not get to work within {patience:g} s and was ended")
        return how_it_died(self._ended.get(run.id))

    def _forget(self, run_id: str) -> None:
        """Forget what was noticed of a run's earlier workers."""
        for noticed in (self._ended, self._hung, self._missing_since):
            noticed.pop(run_id, None)

    def _end_if_it_hangs(self, run_id: str) -> None:
        """Kill a worker that shows no sign of work, if it is certain which process that is."""
        lock = RunFolder(self.settings.root, run_id).lock
        if not locks.is_locked(lock) or self._silence.of(lock) <= self._heartbeat_s:
            return
        self._silence.forget(lock)
        if pulse.end(lock):
            words = f"its worker process hung ({self._heartbeat_s:g} s without a sign of work) and was ended"
            self._hung[run_id] = Death(Cause.HUNG, words)
        elif pulse.holder(lock) is not None:
            self._say(f"The worker of run {run_id} hangs and could not be ended; trying again.")

    def _launch_waiting(self, active: list[Run], settings: Settings) -> None:
        n_active = len(active)
        self._cores = {run.id: self._cores.get(run.id, cores.available()) for run in active}
        if n_active >= settings.max_running:
            return
        waiting = queue_of(self.db)
        if waiting:
            waiting = self._with_memory(waiting, active, settings)
        for run in queueing.startable(waiting, active, settings.max_running, settings.running_each):
            if self.db.change_state(run.id, store.STARTING, [store.QUEUED]):
                try:
                    threads = run.threads or threads_for(self.settings, n_active)
                    self._cores[run.id] = cores.choose(threads, self._cores.values(), cores.available())
                    self._launch(run, threads)
                    n_active += 1
                except OSError as error:
                    reason = f"its worker could not be started: {error}"
                    self.db.change_state(run.id, store.FAILED, [store.STARTING], reason, Cause.NOT_STARTED)

    def _with_memory(self, waiting: list[Run], active: list[Run], settings: Settings) -> list[Run]:
        """Of the runs that wait the first that fit into memory beside those that train; the others are told why they wait. Where
        nothing trains, the first one fits."""
        memory = self.admission.memory(active, settings)
        if memory is None:
            return waiting
        fitting, left = [], memory.bytes
        for run in waiting:
            needed = bytes_of(run.readable_config)
            if needed <= left or not (active or fitting):
                fitting.append(run)
                left -= needed
            elif run.cause != Cause.ROOM:
                reason = "waits until enough memory is free beside the runs that train"
                self.db.change_state(run.id, store.QUEUED, [store.QUEUED], reason, Cause.ROOM)
        return fitting

    def _launch(self, run: Run, threads: int) -> None:
        """Hand the run to the standby process if there is one, else to a new process, which imports torch first."""
        self._last_launch, pinned = time.monotonic(), ",".join(map(str, self._cores[run.id]))
        self._forget(run.id)
        if self._standby is not None and self._standby.can_launch:
            with contextlib.suppress(BrokenPipeError):
                self._children[run.id] = self._standby.launch(run.id, threads, pinned)
                return
        with open(RunFolder(self.settings.root, run.id).log, "ab") as log:
            self._children[run.id] = self._spawn("--run", run.id, "--threads", str(threads), "--cores", pinned, output=log)

    def _spawn(self, *arguments: str, output, errors=None, stdin=subprocess.DEVNULL) -> subprocess.Popen:
        """A worker process in a session of its own, so that Ctrl-C in the terminal does not reach it."""
        options = ["--root", str(self.settings.root), "--nice", str(self.settings.nice)]
        command = [sys.executable, "-m", "playground.workers.worker", *options, *arguments]
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdin=stdin, stdout=output, stderr=errors or output, start_new_session=True,
            env=calm_threads(os.environ),
        )  # fmt: skip

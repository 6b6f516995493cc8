"""`soak faults`: real fault injection: a full disk, a read-only folder, a locked database, a clock that jumps back, no memory, a
worker that hangs, two apps on one root.

Each fault is a function of an empty folder; it returns the message that a person gets. It raises Broken where something was lost,
mixed up or not reported, and NotPossible where this machine cannot make the fault.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from models.knobs import ConfigError, flat, nested, parse
from playground.cli.flags import Typed
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import corpora
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.system import locks
from playground.system.files import REPOSITORY
from playground.training.outcome import Cause
from playground.workers import worker
from playground.workers.supervisor import Supervisor
from tests.patience import still
from tests.soak import evidence

TINY = {
    "model.n_layer": 1, "model.n_head": 2, "model.n_embd": 16, "model.block_size": 16, "model.dropout": 0.1,
    "train.batch_size": 4, "train.log_interval": 20, "train.checkpoint_interval": 40, "train.eval_interval": 40,
    "train.max_steps": 120, "probe.sample_tokens": 4,
}  # fmt: skip
TEXT = "the quick brown fox jumps over the lazy dog\n" * 100
PATIENCE_S = 60.0


class Broken(AssertionError):
    """Something was lost, mixed up or not reported."""


class NotPossible(RuntimeError):
    """This machine cannot make the fault; the message says why."""


class Ground:
    """A root for one fault, whose runs train in this process or in workers of a supervisor."""

    def __init__(self, root: Path, **limits):
        self.root, self.settings, self.db = root, Settings(root, n_cpus=1, nice=0, **limits), Store(root)
        self.db.create()

    def new_run(self, state: str = store.STARTING, **changes) -> str:
        source = corpora.add_text(self.root, TEXT)
        config = parse(RunConfig, nested(flat(RunConfig()) | TINY | {"data.source": source} | changes))
        return create_run(self.db, self.settings, config, HOST, state=state)

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.root, run_id)

    def train(self, run_id: str, listener: Callable | None = None) -> Run:
        """Train a run in this process, in one thread."""
        import torch

        before = torch.get_num_threads()
        try:
            worker.execute(self.root, run_id, 1, worker.Interruption(), listener)
        finally:
            torch.set_num_threads(before)
        return self.db.run(run_id)

    def resume(self, run_id: str) -> Run:
        must(self.db.enqueue(run_id, store.RESUMABLE), f"it could not be resumed: {self.db.run(run_id)}")
        return self.train(run_id)

    def must_equal_undisturbed(self, run_id: str) -> None:
        """Check that the run ended bit for bit as an undisturbed one of the same config, and left no temporary files."""
        run, config = self.db.run(run_id), self.folder(run_id).read_config()
        must(run.state == store.FINISHED, f"{run.state}: {run.reason}")
        with tempfile.TemporaryDirectory(prefix="playground-undisturbed-") as folder:
            calm = Ground(Path(folder))
            corpora.add_text(calm.root, TEXT)
            same = create_run(calm.db, calm.settings, config, HOST, state=store.STARTING)
            # As many threads as the disturbed run had.
            calm.db.begin(same, step=0, threads=run.threads, device="cpu", probe_text=run.probe_text)
            calm.train(same)
            must_be_none(evidence.differences(self.folder(run_id), calm.folder(same)))
            must_be_none(evidence.curve_problems(self.db, run_id, evidence.curve(calm.db, same)))
        must_be_none(self.db.integrity())
        must_be_none(evidence.check_published(self.folder(run_id), set()))
        must_be_none([f"left behind: {path}" for path in evidence.leftovers(self.folder(run_id).path)])

    def until(self, condition: Callable[[], object], what: str):
        began = time.monotonic()
        while not (found := condition()):
            must(still(began, PATIENCE_S), f"{what} has not come true within {time.monotonic() - began:.0f} s: {self.db.runs()}")
            time.sleep(0.03)
        return found

    def wait(self, run_id: str, *states: str) -> Run:
        self.until(lambda: self.db.run(run_id).state in states, f"run {run_id} in {states}")
        return self.db.run(run_id)

    @contextlib.contextmanager
    def served(self) -> Iterator[Supervisor]:
        """Serve the queue with a supervisor inside the `with`; then kill its workers."""
        supervisor = Supervisor(self.settings, self.db)
        supervisor.start()
        try:
            yield supervisor
        finally:
            supervisor.shutdown()
            for left in evidence.workers(self.root):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left.pid, signal.SIGKILL)


def must(condition: object, problem: str) -> None:
    if not condition:
        raise Broken(problem)


def must_be_none(problems: list[str]) -> None:
    must(not problems, "; ".join(problems))


@contextlib.contextmanager
def file_system(folder: Path, options: str) -> Iterator[Path]:
    """Mount a small file system at a folder."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if made.returncode:
        raise NotPossible(f"a file system of its own needs the right to mount one ({made.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def immutable(*paths: Path) -> Iterator[None]:
    """Make files and folders immutable, also for root."""
    try:
        for path in paths:
            made = subprocess.run(["chattr", "+i", str(path)], capture_output=True, text=True)
            if made.returncode:
                raise NotPossible(f"nothing can be made immutable here ({made.stderr.strip()})")
        yield
    except FileNotFoundError as error:
        raise NotPossible(f"nothing can be made immutable here ({error})") from None
    finally:
        for path in paths:
            subprocess.run(["chattr", "-i", str(path)], capture_output=True)


def fill(folder: Path) -> Path:
    """Use up the last byte of a file system; returns the file that does."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


# The faults.


def full_disk_at_a_checkpoint(folder: Path) -> str:
    """The disk fills up; a checkpoint finds no room."""
    with file_system(folder / "disk", "size=8m") as disk:
        ground, fillers = Ground(disk), []
        run_id = ground.new_run(**{"model.n_embd": 64, "model.n_layer": 2})

        def hear(event) -> None:
            if event.kind == "checkpoint" and event.step == 40:
                fillers.append(fill(disk))
                os.truncate(fillers[0], fillers[0].stat().st_size - 2**17)  # room for the figures, none for a checkpoint

        run = ground.train(run_id, hear)
        must((run.state, run.cause) == (store.FAILED, Cause.DISK_FULL), f"{run}")
        must_be_none(evidence.check_published(ground.folder(run_id), set()))
        fillers[0].unlink()
        ground.resume(run_id)
        ground.must_equal_undisturbed(run_id)
        return f"{run.state}: {run.reason}"


def full_disk_for_the_database(folder: Path) -> str:
    """The disk is full to the last byte, so that not even the failure can be recorded until there is room again."""
    with file_system(folder / "disk", "size=8m") as disk:
        ground, fillers = Ground(disk), []
        run_id = ground.new_run()

        def hear(event) -> None:
            if event.kind == "progress" and event.step == 60:
                fillers.append(fill(disk))
                threading.Timer(1.5, fillers[0].unlink).start()

        run = ground.train(run_id, hear)
        must((run.state, run.cause) == (store.FAILED, Cause.DISK_FULL), f"{run}")
        must(bool(fillers), "the disk was never full")
        ground.resume(run_id)
        ground.must_equal_undisturbed(run_id)
        return f"{run.state}: {run.reason}"


def read_only_at_the_start(folder: Path) -> str:
    """The app is started on a folder that cannot be written."""
    with file_system(folder / "disk", "ro") as disk:
        environment = {**os.environ, "PLAYGROUND_ROOT": str(disk)}
        done = subprocess.run(
            [sys.executable, "app.py"], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        must(done.returncode == 1 and "Traceback" not in done.stderr, done.stderr)
        must(f"Runs cannot be kept in {disk}" in done.stderr and "is read-only" in done.stderr, done.stderr)
        return done.stderr.strip()


def read_only_in_mid_run(folder: Path) -> str:
    """The folder of the checkpoints becomes read-only while a run trains."""
    ground = Ground(folder / "root")
    run_id, refused = ground.new_run(), []
    with contextlib.ExitStack() as frozen:

        def hear(event) -> None:
            if event.kind == "checkpoint" and event.step == 40:
                try:
                    frozen.enter_context(immutable(ground.folder(run_id).checkpoints))
                except NotPossible as why:
                    refused.append(why)
                    raise

        run = ground.train(run_id, hear)
        must_be_none(evidence.check_published(ground.folder(run_id), set()))
    if refused:
        raise refused[0]
    must((run.state, run.cause) == (store.FAILED, Cause.READ_ONLY), f"{run}")
    ground.resume(run_id)
    ground.must_equal_undisturbed(run_id)
    return f"{run.state}: {run.reason}"


LOCK_THE_DATABASE = """
import sys, time
from pathlib import Path
from playground.runs.store import Store
with Store(Path(sys.argv[1]))._writing():
    print("locked", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def locked_database(folder: Path, seconds: float = 10.0) -> str:
    """Another process locks the database for ten seconds while a run trains and saves checkpoints."""
    ground = Ground(folder / "root")
    run_id, steps, holder = ground.new_run(**{"train.max_steps": 1_000_000, "train.checkpoint_interval": 100_000}), [], []

    def hear(event) -> None:
        if event.kind != "progress":
            return
        if event.step == 20:
            command = [sys.executable, "-c", LOCK_THE_DATABASE, str(ground.root), str(seconds)]
            holder.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True))
            holder[0].stdout.readline()
        if holder and holder[0].poll() is None:
            steps.append(event.step)
        elif holder and len(holder) == 1:
            holder.append(None)
            ground.db.want(run_id, "stop")

    began = time.monotonic()
    run = ground.train(run_id, hear)
    holder[0].communicate()
    must(run.state == store.STOPPED, f"{run}")
    must(time.monotonic() - began >= seconds and len(steps) > 2, "it did not train while the database was locked")
    recorded = [step for step, _ in evidence.curve(ground.db, run_id)]
    regular = [step for step in recorded if step % 20 == 0]
    must(regular == list(range(20, regular[-1] + 1, 20)), f"the curve has gaps: {recorded}")
    must(recorded == sorted(set(recorded)) and run.step == recorded[-1], f"{recorded[-3:]}, {run.step}")
    return f"trained on through {seconds:g} s; all {len(recorded)} points are recorded, {len(steps)} of them after the lock was gone"


CLOCK = """
import os, time
_time = time.time
time.time = lambda: _time() - (3600.0 if os.path.exists(os.environ["CLOCK_IS_BACK"]) else 0.0)
"""


def clock_that_jumps_back(folder: Path) -> str:
    """The clock is set back an hour while a run trains in its worker, and another is queued after it."""
    ground, flag = Ground(folder / "root", max_running=1), folder / "back"
    (folder / "path").mkdir()
    (folder / "path" / "sitecustomize.py").write_text(CLOCK)
    before, later = ground.new_run(state=store.QUEUED, **{"train.max_steps": 1_000_000}), ""
    with _environment(PYTHONPATH=str(folder / "path"), CLOCK_IS_BACK=str(flag)), ground.served() as supervisor:
        ground.wait(before, store.RUNNING)
        flag.touch()
        with _clock_set_back():
            later = ground.new_run(state=store.QUEUED)
            supervisor.stop(before, HOST)
            ground.wait(before, store.STOPPED)
            ground.wait(later, store.FINISHED)
    runs = ground.db.runs()
    must([run.id for run in runs] == [later, before], f"the newest run is not first: {[(run.id, run.created_at) for run in runs]}")
    must(all(run.created_at <= run.started_at <= run.ended_at for run in runs), f"a run ended before it began: {runs}")
    must(runs[1].started_at < runs[0].started_at, "whose turn it was is mixed up")
    must_be_none([f"{run.id} trained {run.seconds} s" for run in runs if not 0 < run.seconds < PATIENCE_S])
    return (
        "what happens later comes later in every list; times of day stand still for an hour, lengths of training are measured without them"
    )


@contextlib.contextmanager
def _clock_set_back() -> Iterator[None]:
    """Set the clock of this process back by an hour."""
    real = time.time
    time.time = lambda: real() - 3600.0
    try:
        yield
    finally:
        time.time = real


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


LITTLE_MEMORY = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
"""


def out_of_memory(folder: Path) -> str:
    """Workers are limited to 3 GiB of address space each; one run needs more, the other does not."""
    ground = Ground(folder / "root", max_running=2, max_memory_percent=100_000)  # which would refuse the large one
    (folder / "sitecustomize.py").write_text(LITTLE_MEMORY)
    small = ground.new_run(state=store.QUEUED)
    large = ground.new_run(state=store.QUEUED, **{"model.n_embd": 512, "model.block_size": 400, "train.batch_size": 4096})
    with _environment(PYTHONPATH=str(folder)), ground.served():
        run = ground.wait(large, store.FAILED, store.FINISHED, store.INTERRUPTED)
        ground.wait(small, store.FINISHED)
    must((run.state, run.cause) == (store.FAILED, Cause.MEMORY), f"{run}")
    ground.must_equal_undisturbed(small)
    return f"{run.state}: {run.reason}"


def killed_by_the_system(folder: Path) -> str:
    """A worker gets SIGKILL, as from the kernel when memory runs out."""
    return _lost_worker(folder, signal.SIGKILL, Cause.KILLED)


def worker_that_hangs(folder: Path) -> str:
    """A worker is stopped (SIGSTOP): it lives and holds its lock, but does not work."""
    return _lost_worker(folder, signal.SIGSTOP, Cause.HUNG)


def _lost_worker(folder: Path, number: int, cause: Cause) -> str:
    ground = Ground(folder / "root", max_running=1, heartbeat_s=3)
    run_id = ground.new_run(state=store.QUEUED, **{"train.max_steps": 400})
    with ground.served() as supervisor:
        ground.until(lambda: ground.db.run(run_id).step >= 40, "step 40")
        (found,) = [each for each in evidence.workers(ground.root) if each.run == run_id]
        os.kill(found.pid, number)
        run = ground.wait(run_id, store.INTERRUPTED, store.FINISHED)
        must((run.state, run.cause) == (store.INTERRUPTED, cause), f"{run}")
        must(found.pid not in [each.pid for each in evidence.workers(ground.root)], "its worker is left over")
        supervisor.resume(run_id, HOST)
        ground.wait(run_id, store.FINISHED, store.FAILED)
    ground.must_equal_undisturbed(run_id)
    return f"{run.state}: {run.reason}"


SERVE = """
import sys
from pathlib import Path
from playground.config.settings import Settings
from playground.runs.store import Store
from playground.workers.supervisor import Supervisor
supervisor = Supervisor(Settings(Path(sys.argv[1]), max_running=1), Store(Path(sys.argv[1])))
supervisor.start()
print("served", flush=True)
input()
supervisor.shutdown()
"""


def two_apps(folder: Path) -> str:
    """Two apps are started on one root; then the first is killed."""
    ground, apps = Ground(folder / "root"), []

    def start() -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        apps.append(subprocess.Popen([sys.executable, "-c", SERVE, str(ground.root)], cwd=REPOSITORY, **pipes))
        apps[-1].stdout.readline()
        return apps[-1]

    try:
        first = start()
        ground.until(lambda: locks.is_locked(ground.root / "supervisor.lock"), "an app that serves")
        second = start()
        said = second.stderr.readline()
        must(f"Another app (process {first.pid}) serves the queue" in said and "takes over when it ends" in said, said)
        run_id = ground.new_run(state=store.QUEUED)
        ground.wait(run_id, store.RUNNING, store.FINISHED)
        first.kill()
        took_over = second.stderr.readline()
        must("serves the queue" in took_over and "now" in took_over, took_over)
        after = ground.new_run(state=store.QUEUED)
        ground.wait(after, store.FINISHED)
        ground.wait(run_id, store.FINISHED)
        must({ground.db.run(each).generation for each in (run_id, after)} == {1}, "a run was started twice")
        return said.strip() + " " + took_over.strip()
    finally:
        for app in apps:
            app.kill()
            app.communicate()
        for left in evidence.workers(ground.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)


FAULTS: tuple[Callable[[Path], str], ...] = (
    full_disk_at_a_checkpoint, full_disk_for_the_database, read_only_at_the_start, read_only_in_mid_run, locked_database,
    clock_that_jumps_back, out_of_memory, killed_by_the_system, worker_that_hangs, two_apps,
)  # fmt: skip


def campaign(typed: Typed) -> int:
    """The command: make every fault once."""
    if typed.problems:
        raise ConfigError(typed.problems)
    found = []
    for fault in FAULTS:
        with tempfile.TemporaryDirectory(prefix="playground-fault-", dir=typed.text("root"), ignore_cleanup_errors=True) as folder:
            found.append({"fault": fault.__name__.replace("_", " "), **_tried(fault, Path(folder).resolve())})
        if not typed.as_json:
            print("{fault}: {end}\n    {said}".format(**found[-1]), flush=True)
    broken = sum(each["end"] == "VIOLATED" for each in found)
    if typed.as_json:
        print(json.dumps({"faults": found, "violations": broken}))
    else:
        print(f"{len(found)} faults, {broken} violations")
    return 1 if broken else 0


def _tried(fault: Callable[[Path], str], folder: Path) -> dict[str, str]:
    try:
        return {"end": "as stated", "said": fault(folder)}
    except NotPossible as why:
        return {"end": "not possible here", "said": str(why)}
    except Broken as problem:
        return {"end": "VIOLATED", "said": str(problem)}

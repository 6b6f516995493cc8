"""`soak kills`: SIGKILL at random instants to workers, standby processes and the app, while several runs train.

Killed runs are resumed, and in the end each must be bit-identical to an undisturbed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from models.knobs import ConfigError, Problem, flat, nested, parse
from playground.cli.configure import settings_from
from playground.cli.flags import Typed
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.system.cores import calm_threads
from playground.system.files import REPOSITORY
from playground.workers import worker
from playground.workers.admission import CannotDo
from playground.workers.supervisor import Supervisor
from tests.soak import evidence

AT_ONCE = 2
CALM_S = 1.2  # between two kills, at most
AIM_S = 3.0
LAST_WAIT_S = 240.0
NAMES = {
    "worker": "worker that trains", "saving": "worker while it writes a checkpoint", "starting": "worker that starts", "standby": "standby",
}  # fmt: skip

SMALL = {
    "model.n_layer": 2, "model.n_head": 2, "model.n_embd": 32, "model.block_size": 32, "model.dropout": 0.1,
    "train.batch_size": 8, "train.log_interval": 20, "train.checkpoint_interval": 100, "train.eval_interval": 100, "probe.interval": 20,
}  # fmt: skip
# All that resuming a run can depend on: optimizers with different states, dropout, a task, byte pairs.
KINDS = (
    {"optim.name": "adamw"},
    {"optim.name": "muon", "data.tokenizer": "char", "train.max_steps": 300, "train.checkpoint_interval": 20},
    {"optim.name": "schedule_free", "train.checkpoint_interval": 40},
    {"data.source": "task:copy", "model.block_size": 24},
    {"optim.name": "lion", "optim.lr": 1e-4, "train.checkpoint_interval": 20},
    {"optim.name": "sgd", "optim.schedule": "linear"},
)


@dataclass
class Tally:
    """What was done, and the violations that were found."""

    seed: int
    kills: Counter = field(default_factory=Counter)
    checks: Counter = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def blame(self, problems: list[str]) -> None:
        for problem in problems:
            if problem not in self.violations:
                self.violations.append(problem)
                print(f"VIOLATED: {problem}", file=sys.stderr, flush=True)

    def as_json(self) -> str:
        counts = {"seed": self.seed, "kills": sum(self.kills.values()), "killed": self.kills, "checks": self.checks}
        return json.dumps(counts | {"took_s": round(self.took_s, 1), "violations": self.violations})

    def table(self) -> str:
        lines = [f"seed {self.seed}, {self.took_s:.0f} s", f"{sum(self.kills.values()):6} SIGKILLs, of them"]
        lines += [f"{count:6}   {what}" for what, count in sorted(self.kills.items())]
        lines += [f"{count:6} {what}" for what, count in self.checks.items()]
        return "\n".join([*lines, f"{len(self.violations):6} violations", *(f"       {problem}" for problem in self.violations)])


def campaign(typed: Typed) -> int:
    """The command."""
    n_kills, n_runs = _whole(typed, "kills", 100, 1, 10_000), _whole(typed, "runs", len(KINDS), 1, 100)
    seed = _whole(typed, "seed", random.SystemRandom().randrange(2**31), 0, 2**31)
    with temporary_root(typed) as settings:
        if typed.problems:
            raise ConfigError(typed.problems)
        if not evidence.PROC.exists():
            raise CannotDo("this campaign looks at processes as Linux shows them, under /proc")
        if Store(settings.root).path.exists():
            raise CannotDo(f"{settings.root} has runs already, which are not there to be killed; choose an empty folder with --root")
        tally = kill(settings, n_kills, n_runs, seed)
    print(tally.as_json() if typed.as_json else tally.table())
    return 1 if tally.violations else 0


@contextlib.contextmanager
def temporary_root(typed: Typed) -> Iterator[Settings]:
    """The folder of --root, else a temporary one."""
    with tempfile.TemporaryDirectory(prefix="playground-soak-", ignore_cleanup_errors=True) as folder:
        typed.values.setdefault("root", folder)
        yield settings_from(typed, dict(os.environ))


def _whole(typed: Typed, name: str, default: int, low: int, high: int) -> int:
    text = typed.text(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    typed.problems.append(Problem(f"--{name}", f"{text[:60]!r} is not possible here; use a whole number from {low} up to {high:,}"))
    return default


def kill(settings: Settings, n_kills: int, n_runs: int, seed: int, n_steps: int = 600, app: type[App] | None = None) -> Tally:
    """Run the campaign: `n_runs` runs of `n_steps` each, and more if they end before the last kill."""
    tally, began = Tally(seed), time.monotonic()
    room = Room(settings, tally, random.Random(seed), n_steps, (app or App)(settings))
    try:
        room.open(n_runs)
        while sum(tally.kills.values()) < n_kills and not room.stuck():
            room.kill_somebody()
        room.await_ends()
        room.close()
        room.compare()
    finally:
        room.tidy()
    tally.took_s = time.monotonic() - began
    return tally


class App:
    """The app as a process of its own."""

    def __init__(self, settings: Settings):
        self.settings, self.process, self.port = settings, None, 0

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        own = {
            "PLAYGROUND_ROOT": str(self.settings.root), "PLAYGROUND_MAX_RUNNING": str(AT_ONCE), "PLAYGROUND_MAX_QUEUED": "1000",
            "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(self.port),
        }  # fmt: skip
        with open(self.settings.root / "app.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=REPOSITORY, env={**os.environ, **own}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def command(self) -> list[str]:
        return [sys.executable, "app.py"]

    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> int:
        """Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


class Room:
    """The campaign's root, the app that serves it, the runs that train, and the checks."""

    def __init__(self, settings: Settings, tally: Tally, chance: random.Random, n_steps: int, app: App):
        self.settings, self.tally, self.chance, self.n_steps, self.app = settings, tally, chance, n_steps, app
        self.root = settings.root
        self.db, self.door = Store(settings.root), Supervisor(settings, Store(settings.root))
        self.runs: list[str] = []
        self.known: set[tuple[str, int]] = set()
        self.last_news = time.monotonic()
        self.news: object = None

    def open(self, n_runs: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.db.create()
        self.n_runs = n_runs
        self.submit()
        self.app.start()

    def submit(self) -> None:
        """Another round of runs, of every kind in turn."""
        for _ in range(self.n_runs):
            number = len(self.runs)
            changes = SMALL | {"train.max_steps": self.n_steps, "train.seed": number} | KINDS[number % len(KINDS)]
            config = parse(RunConfig, nested(flat(RunConfig()) | changes))
            self.runs.append(create_run(self.db, self.settings, config, HOST, state=store.QUEUED, name=f"run {number}"))

    def tend(self, more: bool = True) -> None:
        """Do what people would: resume interrupted runs, start an app that is gone, begin `more` runs when all have ended. Check that
        no run fails and none is trained twice at once."""
        found = [self.db.run(run_id) for run_id in self.runs]
        for run in found:
            if run.state == store.INTERRUPTED:
                with contextlib.suppress(CannotDo):
                    self.door.resume(run.id, HOST)
                self.tally.checks["times a run was resumed"] += 1
            elif run.state in (store.FAILED, store.DIVERGED, store.STOPPED, store.PAUSED):
                self.tally.blame([f"{run.id} is {run.state}: {run.reason}"])
        if more and all(run.state == store.FINISHED for run in found):
            self.submit()
        if not self.app.lives():
            self.app.start()
        self.tally.blame([f"two processes train {run_id} at once" for run_id in evidence.twice(evidence.workers(self.root))])
        news = [(run.state, run.generation, run.step) for run in found]
        if news != self.news:
            self.news, self.last_news = news, time.monotonic()

    def stuck(self) -> bool:
        silent = time.monotonic() - self.last_news
        if silent > LAST_WAIT_S / 2:
            self.tally.blame([f"nothing has moved for {silent:.0f} s: {self.news}"])
        return silent > LAST_WAIT_S / 2

    def kill_somebody(self) -> None:
        """After a random time kill a random process, then check database and files."""
        deadline = time.monotonic() + self.chance.uniform(0.0, CALM_S)
        while time.monotonic() < deadline:
            self.tend()
            time.sleep(0.1)
        kind = self.chance.choices(("worker", "saving", "starting", "standby", "app"), (35, 30, 15, 8, 12))[0]
        if kind == "app":
            self._kill_app()
        elif not self._kill_worker(kind):
            return
        self.look()
        done = sum(self.tally.kills.values())
        if done % 10 == 0:
            print(f"{done} SIGKILLs", file=sys.stderr, flush=True)

    def _kill_app(self) -> None:
        if self.app.lives():
            self.tally.kills["app" if self.app.serves() else "app while it starts"] += 1
            self.app.kill()

    def _kill_worker(self, kind: str) -> bool:
        """Kill a process of this kind, waiting up to `AIM_S` for one; returns whether there was one."""
        deadline = time.monotonic() + AIM_S
        while time.monotonic() < deadline:
            found = [each for each in evidence.workers(self.root) if self._is(each, kind)]
            if found:
                victim = self.chance.choice(found)
                if kind == "saving" and not self._writes(victim, deadline):
                    return False
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGKILL)
                    self.tally.kills[NAMES[kind]] += 1
                    return True
            time.sleep(0.02)
        return False

    def _is(self, worker: evidence.Worker, kind: str) -> bool:
        if kind == "standby":
            return worker.run is None
        return worker.run is not None and worker.holds == (kind != "starting")

    def _writes(self, worker: evidence.Worker, deadline: float) -> bool:
        """Wait until the worker has a half-written file of a checkpoint; returns whether it has."""
        folder = RunFolder(self.root, worker.run).checkpoints
        while not any(folder.glob(".*")):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def look(self) -> None:
        """Check what must hold after every kill."""
        self.tally.blame([f"the database is damaged: {problem}" for problem in self.db.integrity()])
        self.tally.checks["times the database passed its integrity check"] += 1
        before = len(self.known)
        for run_id in self.runs:
            self.tally.blame(evidence.check_published(RunFolder(self.root, run_id), self.known))
        self.tally.checks["published files read to the last byte"] += len(self.known) - before

    def await_ends(self) -> None:
        """Wait, without more kills, until all runs have ended."""
        while any(self.db.run(run_id).state != store.FINISHED for run_id in self.runs):
            if self.tally.violations or self.stuck():
                return
            self.tend(more=False)
            time.sleep(0.1)
        self.look()

    def close(self) -> None:
        """Check that the app serves and closes on Ctrl-C, and that no process, temporary file or orphan folder is left."""
        if not self.app.lives():
            self.app.start()
        if not self._soon(self.app.serves, 60):
            self.tally.blame(["the app does not answer any more"])
        if self.app.close() != 0:
            self.tally.blame([f"the app ended with status {self.app.process.returncode}"])
        if not self._soon(lambda: not evidence.workers(self.root), 15):
            self.tally.blame([f"a worker is left over: {left}" for left in evidence.workers(self.root)])
        self.tally.blame([f"left behind: {path}" for path in evidence.leftovers(self.root)])
        for run_id in self.runs:
            self.tally.blame([f"left behind: {path}" for path in evidence.incomplete_checkpoints(RunFolder(self.root, run_id))])
        rows = {run.id for run in self.db.runs()}
        self.tally.blame([f"a folder of no run: {path}" for path in (self.root / "runs").iterdir() if path.name not in rows])

    def compare(self) -> None:
        """Train each run again, undisturbed, in another root, and compare bytes."""
        os.environ.update(calm_threads(os.environ))  # as workers have it, before torch is imported
        calm = Settings(self.root / "undisturbed", n_cpus=self.settings.n_cpus)
        db = Store(calm.root)
        db.create()
        for run_id in self.runs:
            run = self.db.run(run_id)
            if run.state != store.FINISHED:
                continue
            config = RunFolder(self.root, run_id).read_config()
            same = create_run(db, calm, config, HOST, state=store.STARTING)
            worker.execute(calm.root, same, run.threads, worker.Interruption())
            problems = evidence.differences(RunFolder(self.root, run_id), RunFolder(calm.root, same))
            problems += evidence.curve_problems(self.db, run_id, evidence.curve(db, same))
            if run.val_loss != db.run(same).val_loss:
                problems.append(f"{run_id} ended at {run.val_loss}, undisturbed at {db.run(same).val_loss}")
            self.tally.blame(problems)
            self.tally.checks["runs that ended"] += 1
            self.tally.checks["of them bit-identical to the undisturbed run, with the same curve"] += not problems

    def _soon(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def tidy(self) -> None:
        """Kill every process that was started."""
        if self.app.lives():
            self.app.kill()
        for left in evidence.workers(self.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)

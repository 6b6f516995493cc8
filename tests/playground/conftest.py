"""What the tests of runs share: tiny configs, real roots, real workers, and patience with a deadline."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from models.knobs import flat, nested, parse
from playground import estimate, store, worker
from playground.access import HOST
from playground.config import RunConfig
from playground.runs import RunFolder
from playground.settings import Settings
from playground.store import Store
from playground.supervisor import REPOSITORY, Supervisor, create_run

TINY = {
    "model.n_layer": 1, "model.n_head": 2, "model.n_embd": 16, "model.block_size": 16, "model.dropout": 0.1,
    "train.max_steps": 60, "train.batch_size": 4, "train.eval_interval": 50, "train.checkpoint_interval": 20, "train.log_interval": 10,
    "probe.sample_tokens": 4,
}  # fmt: skip
LONG = {"train.max_steps": 1_000_000, "train.checkpoint_interval": 1000, "train.eval_interval": 1000, "train.log_interval": 100}
MACHINE = estimate.Machine(threads=1, layer_s=1e-4, speeds=(1e9, 1e9, 1e9))


@pytest.fixture(scope="session")
def tiny():
    """A run config small enough to train in a blink; `tiny(**{"model.n_layer": 2})` changes it."""

    def build(**changes) -> RunConfig:
        return parse(RunConfig, nested(flat(RunConfig()) | TINY | changes))

    return build


@pytest.fixture(scope="session")
def endless(tiny):
    """One that goes on for minutes if nobody stops it."""
    return lambda **changes: tiny(**(LONG | changes))


@pytest.fixture(scope="session")
def until():
    """Poll until something is true; fails with what it was asked to wait for."""

    def wait(condition, what: str = "the condition", seconds: float = 40.0):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what} has not come true within {seconds:g} s"
            time.sleep(0.03)
        return found

    return wait


@pytest.fixture(scope="session")
def run_python():
    """Start `python ARGUMENTS` at the repository root, with pipes."""

    def start(*arguments: str, **options) -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, *arguments], **({"cwd": REPOSITORY} | pipes | options))

    return start


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny):
    """(root, run id) of a finished tiny run, trained in this process. To look at only."""
    root = tmp_path_factory.mktemp("trained")
    db = Store(root)
    db.create()
    run_id = create_run(db, Settings(root), tiny(), HOST, state=store.STARTING, name="tiny")
    outcome = worker.execute(root, run_id, torch.get_num_threads(), worker.Interruption())
    assert outcome.state == "finished", outcome
    return root, run_id


class House:
    """A root with a supervisor that serves it, and eyes on what its workers do."""

    def __init__(self, root: Path, until, **limits):
        self.root, self.until = root, until
        self.settings = Settings(root, n_cpus=1, nice=0, **limits)
        self.db = Store(root)
        self.db.create()
        # So that no standby takes the time to find out.
        estimate.save(root, MACHINE)
        self.supervisors: list[Supervisor] = []
        self.supervisor = self.open()

    def open(self) -> Supervisor:
        """Another supervisor on the same root."""
        supervisor = Supervisor(self.settings, self.db)
        supervisor.start()
        self.supervisors.append(supervisor)
        return supervisor

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.root, run_id)

    def state(self, run_id: str) -> str:
        return self.db.run(run_id).state

    def wait(self, run_id: str, *states: str, seconds: float = 40.0) -> store.Run:
        """Wait until a run is in one of these states; a run that ended otherwise says why."""

        def arrived():
            run = self.db.run(run_id)
            ended = run.state not in store.WAITING and run.state not in states
            assert not ended, f"{run.state}: {run.reason}\n{self.folder(run_id).log_tail()}"
            return run if run.state in states else None

        return self.until(arrived, f"run {run_id} in {states}", seconds)

    def wait_step(self, run_id: str, step: int) -> None:
        self.wait(run_id, store.RUNNING)
        self.until(lambda: self.db.run(run_id).step >= step, f"step {step}")

    def checkpoints(self, run_id: str) -> list[int]:
        return sorted(int(path.stem) for path in self.folder(run_id).checkpoints.glob("[0-9]*.json"))

    def pids(self, run_id: str) -> list[int]:
        """The processes that trained a run, oldest first, by their own account."""
        log = self.folder(run_id).log
        return [int(pid) for pid in re.findall(r"in process (\d+)", log.read_text())] if log.exists() else []

    def processes(self) -> set[int]:
        """The live processes that were started for this root."""
        listing = (
            subprocess.run(["ps", "-axo", "pid=,stat=,command="], capture_output=True, text=True).stdout if not _PROC.exists() else None
        )
        if listing is not None:
            rows = (line.split(None, 2) for line in listing.splitlines())
            return {int(pid) for pid, stat, command in rows if str(self.root) in command and not stat.startswith("Z")}
        found = set()
        for path in _PROC.glob("[0-9]*/cmdline"):
            try:
                if str(self.root).encode() in path.read_bytes():
                    found.add(int(path.parent.name))
            except OSError:
                continue
        return found

    def close(self) -> None:
        for supervisor in self.supervisors:
            supervisor.shutdown()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


_PROC = Path("/proc")


@pytest.fixture(scope="session")
def open_house(until):
    return lambda root, **limits: House(root, until, **limits)


@pytest.fixture(scope="module")
def house(tmp_path_factory, open_house):
    """One supervisor with a standby for a whole module; at most two runs at once."""
    house = open_house(tmp_path_factory.mktemp("house"), max_running=2, max_params=200_000, max_steps=2_000_000)
    yield house
    house.close()

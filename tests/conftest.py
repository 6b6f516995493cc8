"""What the tests of runs share: tiny configs, real roots, real workers, and patience with a deadline."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch

from models.knobs import flat, nested, parse
from playground.config import estimate
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.system.files import REPOSITORY
from playground.workers import worker
from playground.workers.supervisor import Supervisor
from tests.patience import still

TINY = {
    "model.n_layer": 1, "model.n_head": 2, "model.n_embd": 16, "model.block_size": 16, "model.dropout": 0.1,
    "train.max_steps": 60, "train.batch_size": 4, "train.eval_interval": 50, "train.checkpoint_interval": 20, "train.log_interval": 10,
    "probe.sample_tokens": 4,
}  # fmt: skip
LONG = {"train.max_steps": 1_000_000, "train.checkpoint_interval": 1000, "train.eval_interval": 1000, "train.log_interval": 100}
MACHINE = estimate.Machine(1, dict.fromkeys(estimate.KINDS, 0.0) | dict.fromkeys(estimate.MATMUL, 1e-9) | {"layers": 1e-4})


def pytest_collection_modifyitems(items):
    """The longest first, so that no process is left alone with them at the end."""
    items.sort(key=lambda item: "soak" not in item.path.parts)


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


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

    def wait(condition, what: str = "the condition"):
        began = time.monotonic()
        while not (found := condition()):
            assert still(began), f"{what} has not come true within {time.monotonic() - began:.0f} s"
            time.sleep(0.03)
        return found

    return wait


@pytest.fixture(scope="session")
def run_apart():
    """Run a coroutine to its end in a thread of its own: what drives the browser keeps a loop running in this one."""

    def run(coroutine):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, coroutine).result()

    return run


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("playground.training.loop.EARLY_CREDIT_S", 1000.0)  # writes whenever it may, also on a busy machine
        patch.setattr("playground.config.looks.PROBE_SHARE", 1e6)  # looks as often as it is told to
        patch.setattr("playground.config.looks.VALIDATION_SHARE", 1e6)
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

    def wait(self, run_id: str, *states: str) -> store.Run:
        """Wait until a run is in one of these states; a run that ended otherwise says why."""

        def arrived():
            run = self.db.run(run_id)
            ended = run.state not in store.IN_PROGRESS and run.state not in states
            assert not ended, f"{run.state}: {run.reason}\n{self.folder(run_id).log_tail()}"
            return run if run.state in states else None

        return self.until(arrived, f"run {run_id} in {states}")

    def wait_step(self, run_id: str, step: int) -> None:
        self.wait(run_id, store.RUNNING)
        self.until(lambda: self.db.run(run_id).step >= step, f"step {step}")

    def checkpoints(self, run_id: str) -> list[int]:
        return self.folder(run_id).checkpoint_steps()

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


class LittleHub:
    """A Hub on this machine with `files` by (dataset, path), read over real HTTP; `asked` are the paths of all requests."""

    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self):
        self.files: dict[tuple[str, str], bytes] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                hub.asked.append(self.path)
                status, body = hub.answer(unquote(urlsplit(self.path).path))
                span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                self.send_response(206 if status == 200 and span else status)
                if status == 200 and span:
                    first, last = int(span[1]), min(int(span[2]), len(body) - 1)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
                    body = body[first : last + 1]
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str) -> tuple[int, bytes]:
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/revision/.+", path):
            files = [{"rfilename": name, "size": len(data)} for (repo, name), data in self.files.items() if repo == match[1]]
            return (200, json.dumps({"sha": self.COMMIT, "siblings": files}).encode()) if files else (404, b"{}")
        match = re.fullmatch(rf"/datasets/([^/]+/[^/]+)/resolve/{self.COMMIT}/(.+)", path)
        data = self.files.get((match[1], match[2])) if match else None
        return (404, b"") if data is None else (200, data)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def little_hub(monkeypatch):
    """The only Hub that this process, and those it starts, know of."""
    hub = LittleHub()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def open_house(until):
    return lambda root, **limits: House(root, until, **limits)


@pytest.fixture(scope="module")
def house(tmp_path_factory, open_house):
    """One supervisor with a standby for a whole module; at most two runs at once."""
    house = open_house(tmp_path_factory.mktemp("house"), max_running=2, max_params=200_000, max_steps=2_000_000)
    yield house
    house.close()

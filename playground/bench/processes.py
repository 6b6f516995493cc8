"""Starts the real processes that are measured: a worker that trains one run to its end, a standby that begins one, the app."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace

from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.system.cores import calm_threads
from playground.system.files import REPOSITORY
from playground.workers.supervisor import Supervisor

PATIENCE_S = 60.0
STANDBY_SETTLED_S = 12.0


def run_in_worker(config: RunConfig, settings: Settings, beside: Callable[[str], object] | None = None) -> tuple[Run, float]:
    """Train a run to its end in a fresh worker process; `beside` is called with its id at the first loss. Returns the run, and
    the seconds until the first loss. Raises OSError where the run does not finish."""
    db = Store(settings.root)
    db.create()
    run_id = create_run(db, settings, config, HOST, state=store.STARTING)
    began = time.monotonic()
    process = start_worker(settings, run_id)
    try:
        first_s = first_loss(db, run_id, began)
        if beside is not None:
            beside(run_id)
        process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    run = db.run(run_id)
    if run.state != store.FINISHED:
        raise OSError(f"the measured run is {run.state}: {run.reason}")
    return run, first_s


def start_worker(settings: Settings, run_id: str) -> subprocess.Popen:
    """A worker process that trains a run that is `starting`."""
    options = ["--root", str(settings.root), "--nice", str(settings.nice), "--threads", str(settings.n_cpus), "--run", run_id]
    with open(RunFolder(settings.root, run_id).log, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "playground.workers.worker", *options],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=calm_threads(os.environ),
        )  # fmt: skip


def first_loss(db: Store, run_id: str, began: float) -> float:
    """Seconds until the first recorded loss can be read."""
    while time.monotonic() - began < PATIENCE_S:
        if db.events(run_id, kinds=["progress"], limit=1):
            return time.monotonic() - began
        if db.run(run_id).state not in store.IN_PROGRESS:
            break
        time.sleep(0.01)
    run = db.run(run_id)
    raise OSError(f"the measured run recorded no loss: it is {run.state} {run.reason}")


def warm_starts(config: RunConfig, settings: Settings, times: int, ready_after_s: float) -> list[float]:
    """Seconds from submitting a run to its first recorded loss, with a standby process waiting."""
    db = Store(settings.root)
    supervisor = Supervisor(replace(settings, max_running=1), db)
    supervisor.start()
    found = []
    try:
        for _ in range(times):
            standby = supervisor.standby_pid()
            deadline = time.monotonic() + PATIENCE_S
            while standby is None and time.monotonic() < deadline:
                time.sleep(0.1)
                standby = supervisor.standby_pid()
            time.sleep(ready_after_s)
            began = time.monotonic()
            run_id = supervisor.submit(config, HOST)
            found.append(first_loss(db, run_id, began))
            supervisor.stop(run_id, HOST)
            while db.run(run_id).state in store.IN_PROGRESS:
                time.sleep(0.05)
    finally:
        supervisor.shutdown()
    return found


@contextlib.contextmanager
def app_server(settings: Settings) -> Iterator[str]:
    """`python app.py` on a free port with this root; gives its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    environment |= {"PLAYGROUND_ROOT": str(settings.root), "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(
        [sys.executable, "-m", "playground.cli.entry"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                fetch(f"{address}/live/runs")
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError("app.py did not begin to answer")
            time.sleep(0.1)
        # Its standby process imports torch and measures the machine's speed first, which must not disturb the measurement.
        time.sleep(STANDBY_SETTLED_S)
        yield address
    finally:
        process.terminate()
        process.wait()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()

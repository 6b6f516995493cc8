"""Starts the real app in a process and root of its own, and measures its memory and CPU time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playground.runs.store import Store
from playground.system.files import REPOSITORY

OPENS_WITHIN_S, ENDS_WITHIN_S = 60.0, 30.0


@dataclass
class App:
    """A running `python app.py`. `place` is the folder of its root, its temporary files and its output, and of nothing else."""

    place: Path
    root: Path
    port: int
    process: subprocess.Popen
    output: Path

    @property
    def db(self) -> Store:
        return Store(self.root)

    def said(self) -> str:
        """Everything that the app has printed."""
        return self.output.read_text(errors="replace")

    def rss_bytes(self) -> int:
        """Memory of the server process, without its workers."""
        done = subprocess.run(["ps", "-o", "rss=", "-p", str(self.process.pid)], capture_output=True, text=True)
        return 1024 * int(done.stdout.strip() or 0)

    def processor_s(self) -> int:
        """CPU time that the server process has used so far, in whole seconds."""
        done = subprocess.run(["ps", "-o", "time=", "-p", str(self.process.pid)], capture_output=True, text=True)
        days, _, clock = done.stdout.strip().rpartition("-")
        parts = [int(part) for part in (clock or "0").split(".")[0].split(":")]
        return 86_400 * int(days or 0) + sum(60**i * part for i, part in enumerate(reversed(parts)))

    def alive(self) -> bool:
        return self.process.poll() is None


@contextlib.contextmanager
def app(**limits: object) -> Iterator[App]:
    """`python app.py` on 127.0.0.1 with a free port and a temporary root; at the end it and all its runs are stopped. `limits` are
    PLAYGROUND_* names in lower case. It reaches no network."""
    with tempfile.TemporaryDirectory(prefix="playground-soak-") as folder:
        place = Path(folder).resolve()
        root, output = place / "root", place / "app.log"
        for name in ("root", "temporary", "uploads", "home"):
            (place / name).mkdir()
        port = _free_port()
        with open(output, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(place, port, limits),
            )  # fmt: skip
        found = App(place, root, port, process, output)
        try:
            _wait_until_open(found)
            yield found
        finally:
            _end(found)


def _environment(place: Path, port: int, limits: dict[str, object]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PLAYGROUND_", "GRADIO_", "SPACE_"))}
    return inherited | {f"PLAYGROUND_{name.upper()}": str(value) for name, value in limits.items()} | {
        "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(place / "uploads"), "TMPDIR": str(place / "temporary"), "HOME": str(place / "home"),
        "HF_ENDPOINT": "http://127.0.0.1:9", "PLAYGROUND_ROOT": str(place / "root"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_until_open(app: App) -> None:
    deadline = time.monotonic() + OPENS_WITHIN_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", app.port)) == 0:
                return
        if not app.alive():
            break
        time.sleep(0.1)
    raise OSError(f"app.py did not begin to answer: {app.said()[-2000:]}")


def _end(app: App) -> None:
    """End the app as Ctrl-C does, then its workers, which would go on without it."""
    if app.alive():
        app.process.send_signal(signal.SIGINT)
        try:
            app.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            app.process.kill()
            app.process.wait()
    if app.db.path.exists():
        subprocess.run(
            [sys.executable, "-m", "playground", "stop", "--all", "--root", str(app.root)], cwd=REPOSITORY, capture_output=True, timeout=60
        )

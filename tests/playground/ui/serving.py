"""`python app.py` in a process of its own, for tests that talk to it as programs do."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playground.system.files import REPOSITORY
from tests.patience import LONGEST_S


@contextlib.contextmanager
def app_at(root: Path, **settings: str) -> Iterator[str]:
    """The address of the running app; at the end it is interrupted, and its runs are stopped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "PLAYGROUND_ROOT": str(root), "GRADIO_SERVER_PORT": port, "GRADIO_SERVER_NAME": "127.0.0.1", **settings}
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = list[str]()
    while not said or not said[-1].startswith("GPT playground:"):  # Gradio may speak first
        said.append(process.stdout.readline())
        assert said[-1], "".join(said)
    assert port in said[-1]
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONGEST_S)
        stop = [sys.executable, "-m", "playground", "stop", "--all", "--root", str(root)]
        subprocess.run(stop, cwd=REPOSITORY, capture_output=True, timeout=LONGEST_S)
        assert process.returncode == 0

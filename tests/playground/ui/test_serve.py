"""The app as a process, where its environment is another than usual."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.patience import LONGEST_S, still

REPOSITORY = Path(__file__).resolve().parents[3]


def test_with_the_environment_of_a_space_and_without_its_packages_the_app_starts_and_ends_quietly(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "SYSTEM": "spaces", "SPACE_ID": "somebody/playground", "PLAYGROUND_ROOT": str(tmp_path / "root"),
        "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1",
    }  # fmt: skip
    app = subprocess.Popen(
        [sys.executable, "app.py"], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        began = time.monotonic()
        while still(began) and app.poll() is None:
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        app.send_signal(signal.SIGINT)
        said, _ = app.communicate(timeout=LONGEST_S)
    finally:
        app.kill()
    assert app.returncode == 0 and "The page is closed" in said
    assert "Traceback" not in said and "hot-reloading" not in said

"""The playground as a package: a wheel, installed elsewhere and started in another folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from playground.web.assets import assets
from tests.patience import LONGEST_S, still

REPOSITORY = Path(__file__).resolve().parents[3]
PARTS = ("models", "playground", "assets", "pyproject.toml", "requirements.txt", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(folder of the installed package, another folder, environment): from a copy, since a build leaves files in its source."""
    source, place, elsewhere = (tmp_path_factory.mktemp(name) for name in ("source", "place", "elsewhere"))
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / part, source)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(place), str(source)]
    subprocess.run(command, check=True, timeout=LONGEST_S)
    shutil.rmtree(source)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PLAYGROUND_", "GRADIO_"))}
    return place, elsewhere, environment | {"PYTHONPATH": str(place)}


def test_everything_that_the_code_reads_is_in_the_wheel(installed):
    place, _, _ = installed
    for folder in ("models", "playground", "assets"):
        there = {
            path.relative_to(REPOSITORY)
            for path in (REPOSITORY / folder).rglob("*")
            if path.suffix in (".py", ".js", ".css", ".jinja", ".svg")
        }
        assert there and [path for path in there if not (place / path).exists()] == []


def test_the_command_line_trains_in_the_folder_where_it_is_started(installed):
    place, elsewhere, environment = installed
    small = ("--model.n_layer", "1", "--model.n_head", "1", "--model.n_embd", "8", "--train.max_steps", "3")
    command = [sys.executable, str(place / "bin" / "gpt-playground")]
    run = lambda *words: subprocess.run(  # noqa: E731
        [*command, *words], cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=LONGEST_S
    )
    done = run("train", *small, "--name", "from a wheel")
    assert done.returncode == 0, done.stderr
    assert "from a wheel" in run("runs").stdout and (elsewhere / "runs" / "playground.db").exists()
    assert run("nonsense").returncode == 2


def test_the_page_is_served_with_its_scripts(installed):
    place, elsewhere, environment = installed
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = subprocess.Popen(
        [sys.executable, str(place / "bin" / "gpt-playground")], cwd=elsewhere, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment | {"GRADIO_SERVER_PORT": str(port)},
    )  # fmt: skip
    try:
        began = time.monotonic()
        while still(began) and page.poll() is None:
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{assets().url('main.js')}") as answer:
            assert b"export" in answer.read()
        page.send_signal(signal.SIGINT)
        said, _ = page.communicate(timeout=LONGEST_S)
    finally:
        page.kill()
    assert page.returncode == 0 and "The page is closed" in said and "Traceback" not in said

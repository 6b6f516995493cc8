"""A real Chromium on a real app with real workers. Nothing here leaves the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.store import Store
from playground.workers.admission import CannotDo
from playground.workers.director import STOP
from playground.workers.supervisor import Supervisor
from tests.patience import LONGEST_S, page_patience_s, still

HOST_TOKEN = "the-token-of-the-host"
REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOW_TO = "no Chromium on this machine: install one (Debian and Ubuntu: apt-get install chromium) or name it in PLAYGROUND_CHROMIUM"


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("PLAYGROUND_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def chromium():
    path = find_chromium()
    if path is None:
        if os.environ.get("PLAYGROUND_BROWSER_TESTS") == "required":
            pytest.fail(HOW_TO)
        pytest.skip(HOW_TO)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


class App:
    """`python app.py` in a process of its own, on a free port and a root of its own."""

    def __init__(self, root: Path):
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.output = root.parent / f"app-{self.port}.log"
        self.start()

    def start(self) -> None:
        env = {
            **os.environ, "PLAYGROUND_ROOT": str(self.root), "GRADIO_SERVER_PORT": str(self.port), "GRADIO_SERVER_NAME": "127.0.0.1",
            "PLAYGROUND_MAX_RUNNING": "2", "HF_ENDPOINT": "http://127.0.0.1:9", "PLAYGROUND_HOST_TOKEN": HOST_TOKEN,
        }  # fmt: skip
        with open(self.output, "ab") as log:
            self.process = subprocess.Popen([sys.executable, "app.py"], cwd=REPOSITORY, env=env, stdout=log, stderr=log)
        began = time.monotonic()
        while still(began):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.1)
        raise AssertionError("the app did not open its port: " + self.output.read_text())

    def interrupt(self) -> str:
        """Ctrl-C; returns what the terminal shows."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=LONGEST_S)
        return self.output.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.interrupt()
        command = [sys.executable, "-m", "playground", "stop", "--all", "--root", str(self.root)]
        subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=LONGEST_S)


@pytest.fixture(scope="session")
def app(tmp_path_factory, chromium):
    app = App(tmp_path_factory.mktemp("browser") / "root")
    yield app
    app.close()


@pytest.fixture(autouse=True)
def nothing_goes_on(app):
    """What a test leaves training, perhaps because it failed, must not slow down those after it."""
    yield
    supervisor = Supervisor(Settings(app.root), Store(app.root))
    for experiment in supervisor.db.experiments():
        supervisor.db.want_experiment(experiment.id, STOP)
    for run in supervisor.db.runs_in(store.IN_PROGRESS):
        with contextlib.suppress(CannotDo):
            supervisor.stop(run.id, HOST)


@pytest.fixture
def visit(chromium, app):
    """Open a page as a new person, or as one who came back; fails on any console error and any outside request.

    Leave a page by closing it: Gradio complains in the console of a page that goes elsewhere while an event is under way.
    """
    complaints: list[str] = []
    contexts = []

    def open_page(
        query: str = "", *, context=None, width: int = 1440, height: int = 900, dark: bool = False, until: str = "#status .pg-brand"
    ):
        if context is None:
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
            )
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * page_patience_s())
        page.on("console", lambda m: complaints.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: complaints.append(f"page error: {e}"))
        page.on("request", lambda r: complaints.append(f"outside: {r.url}") if not r.url.startswith((app.url, "data:", "blob:")) else None)
        page.goto(app.url + query)
        page.wait_for_selector(until)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)

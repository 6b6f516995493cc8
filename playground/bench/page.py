"""The load of the Inside tab in the browser: a real Chromium, a real app, and a simulated run that records twice a second.

This process simulates the run by writing to the store and to files as a worker does: so updates come at an even pace,
whatever the machine, and only the page is measured. Needs the `playwright` package.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.knobs import ConfigError, Problem, parse
from playground.bench.processes import app_server
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.system import locks
from playground.system.files import text_hash

UPDATES_PER_S, SETTLE_S = 2.0, 6.0
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--js-flags=--expose-gc")  # fmt: skip
VIEWS = ("diagram", "curves", "heads", "lens")
BIG = {"model": {"n_layer": 8, "n_head": 8, "n_embd": 64, "block_size": 64}, "data": {"source": "tiny-tales", "tokenizer": "char"}}


class Played:
    """A simulated run of 8 layers x 8 heads on 64 tokens that seems to train. Raises as `create_run` does."""

    def __init__(self, settings: Settings):
        self.db = Store(settings.root)
        self.db.create()
        config = parse(RunConfig, BIG | {"train": {"max_steps": 1_000_000}})
        self.run_id = create_run(self.db, settings, config, HOST, state=store.STARTING, name="played")
        self.folder = RunFolder(settings.root, self.run_id)
        lock = locks.acquire(self.folder.lock)  # without it the app would mark the run as interrupted
        if lock is None:
            raise OSError(f"{self.folder.lock} is held by another process")
        self.lock = lock
        self._prepare(settings.root)
        self.done, self.step = threading.Event(), 0
        self.db.begin(self.run_id, step=0, threads=1, device="cpu", probe_text=self.text)
        self.thread = threading.Thread(target=self._play, daemon=True)

    def _prepare(self, root: Path) -> None:
        from models.gpt import GPT
        from playground.data import dataset
        from playground.system.files import publish

        config = self.folder.read_config()
        data = dataset.load(config.data, root)
        publish(self.folder.tokenizer, data.tokenizer.to_json().encode())
        self.model = GPT(config.model)
        self.text = data.probe_text()
        self.tokens = data.tokenizer.encode(self.text)[:64]

    def _play(self) -> None:
        """Every half second, record a probe of a model whose weights drift at random, and a point of each curve."""
        import torch

        from playground.inside.measures import measure
        from playground.training.events import Probed, Progress
        from playground.training.probes import publish_probe

        generator, due = torch.Generator().manual_seed(0), time.monotonic()
        while not self.done.wait(max(0.0, due - time.monotonic())):
            due += 1 / UPDATES_PER_S
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
            probe = measure(self.model, self.tokens)
            publish_probe(self.folder.path, self.step, probe, self.text)
            seconds, tokens = self.step / 20, self.step * 768
            loss = float(4 / np.log(self.step + 3))
            facts = {"tokens": tokens, "seconds": seconds}
            events = [
                Progress(self.step, **facts, loss=loss, grad_norm=1.0, lr=1e-3, tokens_per_s=15_000.0),
                Probed(self.step, text_hash=text_hash(self.text), n_tokens=len(self.tokens), **facts, values=probe.values),
            ]
            self.db.append(self.run_id, events, {"step": self.step, "seconds": seconds, "train_loss": loss})
            self.step += 10

    def __enter__(self) -> Played:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.done.set()
        self.thread.join()
        self.lock.release()


class Watch:
    """Load of a page's main thread and memory of its scripts, as Chromium's DevTools report them."""

    def __init__(self, page):
        self.page, self.devtools = page, page.context.new_cdp_session(page)
        self.devtools.send("Performance.enable")
        self.busy_s, self.began = self._metrics()["TaskDuration"], time.monotonic()

    def busy(self) -> float:
        """Share of the time since the last call in which the main thread was busy."""
        busy_s, now = self._metrics()["TaskDuration"], time.monotonic()
        share = (busy_s - self.busy_s) / (now - self.began)
        self.busy_s, self.began = busy_s, now
        return share

    def memory_mb(self) -> float:
        """Memory in use after a garbage collection."""
        for _ in range(2):
            self.devtools.send("HeapProfiler.collectGarbage")
        return self._metrics()["JSHeapUsedSize"] / 1e6

    def _metrics(self) -> dict[str, float]:
        return {each["name"]: each["value"] for each in self.devtools.send("Performance.getMetrics")["metrics"]}


@contextlib.contextmanager
def chromium(path: str) -> Iterator:
    """A fresh page of the browser at `path`; raises ConfigError where there is none."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise ConfigError([Problem("--browser", "needs the playwright package: pip install playwright")]) from None
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        except Error as error:
            first = str(error).splitlines()[0]
            raise ConfigError([Problem("--browser", f"{path[:100]!r} cannot be started ({first}); give the path of a Chromium")]) from None
        try:
            yield browser.new_page(viewport={"width": 1440, "height": 1000})
        finally:
            browser.close()


def open_inside(page, address: str, run_id: str, view: str) -> None:
    """Open a run's Inside tab at a view, and wait until it shows something."""
    if f"run={run_id}" not in page.url:
        page.goto(f"{address}/?run={run_id}")
        page.wait_for_selector("#run-progress")  # the address opens Play first
        page.get_by_role("tab", name="Inside").click()
    page.click(f"[data-view={view}]")
    page.wait_for_selector(f".pg-view-{view} > :first-child", state="attached")


def measure_page(settings: Settings, browser: str, only: str | None, seconds: float) -> list[dict]:
    """For each view (or `only` one): share of the main thread that is busy, and by how many MB memory grew, over `seconds`."""
    if only is not None and only not in VIEWS:
        raise ConfigError([Problem("--view", f"{only[:40]!r} is not a view; use one of {', '.join(VIEWS)}")])
    found = []
    with app_server(settings) as address, Played(settings) as played, chromium(browser) as page:
        for view in VIEWS if only is None else (only,):
            open_inside(page, address, played.run_id, view)
            time.sleep(SETTLE_S)
            watch = Watch(page)
            before, _ = watch.memory_mb(), watch.busy()
            began_at = played.step
            time.sleep(seconds)
            busy = watch.busy()
            updates = (played.step - began_at) / 10 / seconds
            found.append({"view": view, "busy": busy, "grew_mb": watch.memory_mb() - before, "updates_per_s": updates, "seconds": seconds})
    return found


def table(found: list[dict]) -> str:
    lines = ["8 layers x 8 heads of 64 x 64, in Chromium: main thread busy, growth of memory, updates per second"]
    lines += [
        f"{each['view']:12} {each['busy']:7.1%} {each['grew_mb']:+8.1f} MB in {each['seconds']:g} s {each['updates_per_s']:6.2f}"
        for each in found
    ]
    return "\n".join(lines)


def as_json(found: list[dict]) -> str:
    return json.dumps({"page": found})

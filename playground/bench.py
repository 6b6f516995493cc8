"""How fast training is, side by side with a bare PyTorch loop, and how soon it starts.

Every measurement is a fresh process; the rows take turns, so that a machine that slows down
slows them all. Speeds leave out the first quarter of each measurement.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.knobs import ConfigError, Problem, parse
from playground import store
from playground.access import HOST
from playground.config import RunConfig
from playground.configure import config_from
from playground.flags import Typed
from playground.runs import RunFolder
from playground.settings import Settings, calm_threads
from playground.store import Run, Store
from playground.supervisor import REPOSITORY, Supervisor, create_run

BARE, LOOP, PRELOADED = "bare PyTorch loop", "training loop alone", "the same, fed from memory"
RUN, WATCHED = "run with recording and probes", "the same, watched at 2 Hz"
ROWS = (BARE, LOOP, PRELOADED, RUN, WATCHED)
IN_PROCESS = (BARE, LOOP, PRELOADED)
PRELOADED_BATCHES = 64
LEFT_OUT = 0.25
PAGE_INTERVAL_S = 0.5
PATIENCE_S = 60.0


@dataclass
class Results:
    """What was measured: tokens per second by row, seconds to the first loss, shares of training time."""

    speeds: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})
    cold_s: list[float] = field(default_factory=list)
    warm_s: list[float] = field(default_factory=list)
    shares: dict[str, list[float]] = field(default_factory=lambda: {"recording": [], "validation": [], "checkpoints": []})
    requests: list[int] = field(default_factory=list)
    probe_ms: list[float] = field(default_factory=list)
    probes_per_minute: list[float] = field(default_factory=list)
    probe_mb_per_1000_steps: list[float] = field(default_factory=list)


def bench(typed: Typed) -> int:
    """The command: measure, then print one table or one JSON object."""
    seconds, pairs = _number(typed, "seconds", 10.0, 1, 3600), int(_number(typed, "pairs", 3, 1, 100))
    with tempfile.TemporaryDirectory(prefix="playground-bench-") as folder:
        typed.values["root"] = folder
        browser, checkout = typed.text("browser"), typed.text("against")
        if checkout is not None:
            typed.values.setdefault("preset", "nanogpt-cpu")
        config, settings = config_from(typed, dict(os.environ))
        if browser is not None:
            return _page(settings, browser, seconds, typed.as_json)
        if checkout is not None:
            return _against(settings, checkout, config.data.source, pairs, typed.as_json)
        endless = config.train.model_copy(update={"max_steps": None, "max_seconds": seconds})
        config = config.model_copy(update={"train": endless})
        results = measure(config, settings, pairs)
    facts = machine()
    print(json.dumps(_as_json(results, facts)) if typed.as_json else _table(results, facts, seconds))
    return 0


def _page(settings: Settings, browser: str, seconds: float, as_json: bool) -> int:
    from playground import bench_page

    found = bench_page.measure_page(settings, browser, seconds)
    print(bench_page.as_json(found) if as_json else bench_page.table(found))
    return 0


def _against(settings: Settings, checkout: str, source: str, pairs: int, as_json: bool) -> int:
    from playground import bench_against

    recipe, found = bench_against.measure(settings, checkout, source, pairs, _note)
    print(bench_against.as_json(recipe, found) if as_json else bench_against.table(recipe, found, _spread))
    return 0


def measure(config: RunConfig, settings: Settings, pairs: int) -> Results:
    """Every row in turn, `pairs` times, forwards and backwards."""
    results = Results()
    for i in range(pairs):
        for row in ROWS if i % 2 == 0 else reversed(ROWS):
            _note(f"{i + 1} of {pairs}: {row}")
            if row in IN_PROCESS:
                results.speeds[row].append(_in_process(row, config, settings))
            elif row == RUN:
                results.speeds[row].append(_worker(config, settings, results))
            else:
                with app_server(settings) as address:
                    results.speeds[row].append(_worker(config, settings, results, address))
    _note("start of a run by the standby")
    # By now a cold start has been measured: twice that is enough for a standby to be ready.
    results.warm_s = warm_starts(config, settings, pairs, ready_after_s=2 * max(results.cold_s))
    return results


# The bare loop and the training loop alone, each in a process of its own.


def _in_process(row: str, config: RunConfig, settings: Settings) -> float:
    argv = [sys.executable, "-m", "playground.bench", row, config.model_dump_json(), str(settings.root)]
    done = subprocess.run(argv, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def bare_loop(config: RunConfig, root: Path) -> float:
    """What a reader of nanoGPT would write: eager, AdamW, no recording. Tokens per second."""
    import torch
    import torch.nn.functional as F

    from models.gpt import GPT
    from playground.data import dataset

    config = dataset.complete(config, root)
    train, shape = config.train, config.model
    draw = _task_rows(config, root) if config.data.task else _text_windows(config, root)
    torch.manual_seed(train.seed)
    model = GPT(shape).train()
    decayed, others = [p for p in model.parameters() if p.dim() >= 2], [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": config.optim.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.optim.lr, betas=(config.optim.beta1, config.optim.beta2), fused=True)
    clock = Clock(config)
    while not clock.over():
        for _ in range(train.accumulation):
            x, y = draw()
            logits = model(x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1)) / train.accumulation
            loss.backward()
        if config.optim.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick()
    return clock.tokens_per_s()


def _text_windows(config: RunConfig, root: Path):
    import torch

    from playground.data import dataset

    data, width = torch.from_numpy(dataset.load(config.data, root).train.astype("int64")), config.model.block_size

    def draw():
        starts = torch.randint(len(data) - width, (config.train.batch_size,))
        return torch.stack([data[i : i + width] for i in starts]), torch.stack([data[i + 1 : i + 1 + width] for i in starts])

    return draw


def _task_rows(config: RunConfig, root: Path):
    import torch

    from playground.data import dataset
    from playground.data.batches import targets_of
    from playground.data.tasks.base import scored

    data = dataset.load(config.data, root)
    tokens = torch.from_numpy(data.train.tokens.astype("int64"))
    targets = torch.from_numpy(targets_of(data.train.tokens, scored(data.train, data.stride, data.scored)).astype("int64"))

    def draw():
        rows = torch.randint(len(tokens), (config.train.batch_size,))
        return torch.stack([tokens[i, : config.width] for i in rows]), torch.stack([targets[i, : config.width] for i in rows])

    return draw


class Preloaded:
    """The same few batches over and over, ready in memory: what a loop could reach that waits for no data."""

    def __init__(self, batches: list):
        self.batches, self.count, self.device = batches, 0, batches[0][0].device

    def next(self):
        self.count += 1
        return self.batches[self.count % len(self.batches)]


def loop_preloaded(config: RunConfig, root: Path) -> float:
    """The playground's loop, fed from memory instead of from the data set. Tokens per second."""
    return loop_alone(config, root, preloaded=True)


def loop_alone(config: RunConfig, root: Path, preloaded: bool = False) -> float:
    """The playground's loop with nobody looking. Tokens per second."""
    import torch

    from playground.data import dataset
    from playground.training.devices import keep_memory
    from playground.training.loop import Loop
    from playground.training.state import TrainState

    keep_memory()
    config = dataset.complete(config, root)
    clock = Clock(config)

    class Timed(TrainState):
        def step(self, watched=False):
            result = super().step(watched)
            clock.tick()
            return result

    state = Timed(config, dataset.load(config.data, root), torch.device("cpu"))
    if preloaded:
        state.player.batches = Preloaded([state.batches.next() for _ in range(PRELOADED_BATCHES)])
    clock.start()
    Loop(state, root, observe=False).run()
    return clock.tokens_per_s()


class Clock:
    """The times of steps, for a speed that leaves out the beginning."""

    def __init__(self, config: RunConfig):
        self.seconds, self.tokens_per_step = config.train.max_seconds, config.tokens_per_step
        self.start()

    def start(self) -> None:
        self.began, self.times = time.perf_counter(), []

    def tick(self) -> None:
        self.times.append(time.perf_counter() - self.began)

    def over(self) -> bool:
        return time.perf_counter() - self.began >= self.seconds

    def tokens_per_s(self) -> float:
        return speed([(t, (i + 1) * self.tokens_per_step) for i, t in enumerate(self.times)])


def speed(points: list[tuple[float, float]]) -> float:
    """Tokens per second from (seconds, tokens so far), the first quarter of the time left out."""
    late = [point for point in points if point[0] >= LEFT_OUT * points[-1][0]]
    (since, before), (now, tokens) = late[0], late[-1]
    return (tokens - before) / max(now - since, 1e-9)


# A real run in a worker of its own.


def _worker(config: RunConfig, settings: Settings, results: Results, address: str | None = None) -> float:
    """Train to the end in a fresh worker process; returns tokens per second."""
    db = Store(settings.root)
    db.create()
    run_id = create_run(db, settings, config, HOST, state=store.STARTING)
    options = ["--root", str(settings.root), "--nice", str(settings.nice), "--threads", str(settings.n_cpus), "--run", run_id]
    began = time.monotonic()
    with open(RunFolder(settings.root, run_id).log, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "playground.worker", *options],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=calm_threads(os.environ),
        )  # fmt: skip
    try:
        first_s = first_loss(db, run_id, began)
        if address is None:
            results.cold_s.append(first_s)
        else:
            with page(address, run_id) as visits:
                process.wait()
            results.requests.append(len(visits))
        process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    run = db.run(run_id)
    if run.state != store.FINISHED:
        raise OSError(f"the measured run is {run.state}: {run.reason}")
    if address is None:
        _note_shares(results, RunFolder(settings.root, run_id), run)
    points = [(row.body["seconds"], row.body["tokens"]) for row in db.events(run_id, kinds=["progress"])]
    return speed(points)


def first_loss(db: Store, run_id: str, began: float) -> float:
    """Seconds until the first recorded loss can be read."""
    while time.monotonic() - began < PATIENCE_S:
        if db.events(run_id, kinds=["progress"], limit=1):
            return time.monotonic() - began
        if db.run(run_id).state not in store.WAITING:
            break
        time.sleep(0.01)
    run = db.run(run_id)
    raise OSError(f"the measured run recorded no loss: it is {run.state} {run.reason}")


def _note_shares(results: Results, folder: RunFolder, run: Run) -> None:
    """What the worker itself says of its time, in the last line of its log."""
    words = folder.log_tail().rsplit("Outcome(", 1)[1].rstrip(")").split(", ")
    spent = dict(word.split("=", 1) for word in words if "=" in word)
    for name, key in (("recording", "recording_s"), ("validation", "validation_s"), ("checkpoints", "checkpoint_s")):
        results.shares[name].append(float(spent[key]) / run.seconds)
    results.probe_ms.append(1000 * float(spent["probing_s"]) / int(spent["n_probes"]))
    results.probes_per_minute.append(60 * int(spent["n_probes"]) / run.seconds)
    kept = sum(path.stat().st_size for path in folder.probes.rglob("*.safetensors"))
    results.probe_mb_per_1000_steps.append(kept / 1e6 * 1000 / run.step)


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
            while db.run(run_id).state in store.WAITING:
                time.sleep(0.05)
    finally:
        supervisor.shutdown()
    return found


# One page that watches.


@contextlib.contextmanager
def app_server(settings: Settings) -> Iterator[str]:
    """`python app.py` on a free port with this root; gives its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    environment |= {"PLAYGROUND_ROOT": str(settings.root), "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment
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
        # Its standby imports torch; that is no part of what is measured.
        time.sleep(5.0)
        yield address
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def page(address: str, run_id: str) -> Iterator[list[float]]:
    """Ask what an open page asks, twice a second, until the end; gives the times that answers took."""
    done, visits = threading.Event(), []

    def visit() -> None:
        cursor, generation = 0, -1
        while not done.wait(PAGE_INTERVAL_S):
            began = time.perf_counter()
            with contextlib.suppress(OSError):
                delta = json.loads(fetch(f"{address}/live/runs/{run_id}?cursor={cursor}&generation={generation}"))
                cursor, generation = delta["cursor"], delta["generation"]
                if "probe" in delta["events"]:
                    fetch(f"{address}/live/runs/{run_id}/moment?maps=1")
                visits.append(time.perf_counter() - began)

    thread = threading.Thread(target=visit, daemon=True)
    thread.start()
    try:
        yield visits
    finally:
        done.set()
        thread.join()
    if not visits:
        raise OSError("the page was never answered")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


# What is said of it.


def machine() -> dict:
    """The facts without which a speed means nothing."""
    import platform
    from importlib.metadata import version

    from playground.settings import n_cpus

    return {
        "cores": n_cpus(),
        "threads": n_cpus(),
        "torch": version("torch"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def ratios(results: Results, base: str = BARE) -> dict[str, list[float]]:
    """Each row over the bare loop, or another row, of the same turn."""
    return {row: [a / b for a, b in zip(speeds, results.speeds[base], strict=True)] for row, speeds in results.speeds.items()}


def _as_json(results: Results, facts: dict) -> dict:
    to_bare = ratios(results)
    rows = [{"row": row, "tokens_per_s": speeds, "to_bare": to_bare[row]} for row, speeds in results.speeds.items()]
    return {
        "machine": facts,
        "rows": rows,
        "cold_s": results.cold_s,
        "warm_s": results.warm_s,
        "data_to_memory": ratios(results, PRELOADED)[LOOP],
        "shares": results.shares,
        "requests": results.requests,
        "probe_ms": results.probe_ms,
        "probes_per_minute": results.probes_per_minute,
        "probe_mb_per_1000_steps": results.probe_mb_per_1000_steps,
    }


def _table(results: Results, facts: dict, seconds: float) -> str:
    to_bare = ratios(results)
    lines = [
        f"{facts['cores']} cores, {facts['threads']} threads, torch {facts['torch']}, Python {facts['python']}, {facts['system']}",
        f"{len(results.warm_s)} turns of {seconds:g} s each; median (least – most)",
        "",
        f"{'':32} {'tokens/s':>28}   {'of the bare loop':>22}",
    ]
    for row, speeds in results.speeds.items():
        lines.append(f"{row:32} {_spread(speeds, ',.0f'):>28}   {_spread(to_bare[row], '.3f'):>22}")
    fed = _spread(ratios(results, PRELOADED)[LOOP], ".3f")
    lines += ["", f"{'the loop with its data, of the same fed from memory':52} {fed}"]
    lines += ["", "share of the run's training time, by its worker's own account"]
    names = {
        "recording": "probes, samples and recording",
        "validation": "validation, that of the whole text included",
        "checkpoints": "checkpoints",
    }
    lines += [f"{names[name]:32} {_spread(shares, '.1%'):>28}" for name, shares in results.shares.items()]
    lines += ["", "what is looked at inside"]
    lines += [
        f"{'one probe':32} {_spread(results.probe_ms, '.0f'):>26} ms",
        f"{'probes per minute':32} {_spread(results.probes_per_minute, '.0f'):>26}",
        f"{'probes on disk, 1,000 steps':32} {_spread(results.probe_mb_per_1000_steps, '.1f'):>26} MB",
    ]
    lines += ["", "from the start command to the first recorded loss"]
    lines += [
        f"{'cold, a new process':32} {_spread(results.cold_s, '.2f'):>26} s",
        f"{'warm, by the standby':32} {_spread(results.warm_s, '.2f'):>26} s",
    ]
    return "\n".join(lines)


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} – {max(values):{form}})"


def _number(typed: Typed, name: str, default: float, low: float, high: float) -> float:
    text = typed.text(name)
    if text is None:
        return default
    with contextlib.suppress(ValueError):
        if low <= float(text) <= high:
            return float(text)
    typed.problems.append(Problem(f"--{name}", f"{text[:60]!r} is not possible here; use a number from {low} up to {high:,}"))
    return default


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    row, config_json, root = sys.argv[1:]
    try:
        measure_row = {BARE: bare_loop, LOOP: loop_alone, PRELOADED: loop_preloaded}[row]
        measured = measure_row(parse(RunConfig, json.loads(config_json)), Path(root))
    except ConfigError as error:
        sys.exit(str(error))
    print(measured)

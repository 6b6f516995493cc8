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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from playground.bench.loops import BARE, LOOP, PRELOADED, TOGETHER, speed
from playground.cli.configure import MOST_RUNS, config_from
from playground.cli.flags import Typed, number
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import sampler, store
from playground.runs.access import HOST
from playground.runs.creation import create_run
from playground.runs.folder import RunFolder
from playground.runs.sampler import SampleConfig
from playground.runs.store import Run, Store
from playground.system.cores import calm_threads
from playground.system.files import REPOSITORY
from playground.web.computing import Computing
from playground.workers.supervisor import Supervisor

RUN, WATCHED, SAMPLED = "run with recording and probes", "the same, watched at 2 Hz", "the same, sampled from all the time"
IN_PROCESS = (BARE, LOOP, PRELOADED)
ROWS = (*IN_PROCESS, RUN, WATCHED, SAMPLED)
PAGE_INTERVAL_S = 0.5
PATIENCE_S = 60.0
STANDBY_SETTLED_S = 12.0


@dataclass
class Results:
    """What was measured: tokens per second by row, seconds to the first loss, shares of training time."""

    speeds: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})
    cold_s: list[float] = field(default_factory=list)
    warm_s: list[float] = field(default_factory=list)
    shares: dict[str, list[float]] = field(default_factory=lambda: {"recording": [], "validation": [], "checkpoints": []})
    requests: list[int] = field(default_factory=list)
    sampled_per_s: list[float] = field(default_factory=list)
    probe_ms: list[float] = field(default_factory=list)
    probes_per_minute: list[float] = field(default_factory=list)
    probe_mb_per_1000_steps: list[float] = field(default_factory=list)


def bench(typed: Typed) -> int:
    """The command: measure, then print one table or one JSON object."""
    seconds, pairs = number(typed, "seconds", 10.0, 1, 3600), int(number(typed, "pairs", 3, 1, 100))
    repeat = int(number(typed, "repeat", 1, 1, MOST_RUNS))
    with tempfile.TemporaryDirectory(prefix="playground-bench-") as folder:
        typed.values["root"] = folder
        browser, checkout = typed.text("browser"), typed.text("against")
        if checkout is not None:
            typed.values.setdefault("preset", "nanogpt-cpu")
        config, settings = config_from(typed, dict(os.environ))
        if browser is not None:
            return _page(settings, browser, typed.text("view"), seconds, typed.as_json)
        if checkout is not None:
            return _against(settings, checkout, config.data.source, pairs, typed.as_json)
        endless = config.train.model_copy(update={"max_steps": None, "max_seconds": seconds})
        config = config.model_copy(update={"train": endless})
        if repeat > 1:
            return _together(config, settings, repeat, pairs, typed.as_json)
        results = measure(config, settings, pairs)
    facts = machine()
    print(json.dumps(_as_json(results, facts)) if typed.as_json else _table(results, facts, seconds))
    return 0


def _page(settings: Settings, browser: str, view: str | None, seconds: float, as_json: bool) -> int:
    from playground.bench import page

    found = page.measure_page(settings, browser, view, seconds)
    print(page.as_json(found) if as_json else page.table(found))
    return 0


def _against(settings: Settings, checkout: str, source: str, pairs: int, as_json: bool) -> int:
    from playground.bench import against

    recipe, found = against.measure(settings, checkout, source, pairs, _note)
    print(against.as_json(recipe, found) if as_json else against.table(recipe, found, _spread))
    return 0


def _together(config: RunConfig, settings: Settings, repeat: int, pairs: int, as_json: bool) -> int:
    """So many runs as one program, in turns with one that has the machine to itself: what they reach one by one."""
    found: dict[str, list[float]] = {LOOP: [], TOGETHER: []}
    for i in range(pairs):
        for row in found if i % 2 == 0 else reversed(found):
            _note(f"{i + 1} of {pairs}: {row}")
            found[row].append(_in_process(row, config, settings, repeat))
    gain = [several / one for several, one in zip(found[TOGETHER], found[LOOP], strict=True)]
    if as_json:
        print(json.dumps({"machine": machine(), "repeat": repeat, "tokens_per_s": found, "gain": gain}))
    else:
        print(f"{'one run after the other':32} {_spread(found[LOOP], ',.0f'):>28} tokens/s")
        print(f"{f'{repeat} runs as one program':32} {_spread(found[TOGETHER], ',.0f'):>28} tokens/s   ratio {_spread(gain, '.2f')}")
    return 0


def measure(config: RunConfig, settings: Settings, pairs: int) -> Results:
    """Every row in turn, `pairs` times, forwards and backwards."""
    results = Results()
    for i in range(pairs):
        for row in ROWS if i % 2 == 0 else reversed(ROWS):
            _note(f"{i + 1} of {pairs}: {row}")
            results.speeds[row].append(_measured(row, config, settings, results))
    _note("start of a run by the standby")
    # By now a cold start has been measured: twice that is enough for a standby to be ready.
    results.warm_s = warm_starts(config, settings, pairs, ready_after_s=2 * max(results.cold_s))
    return results


def _measured(row: str, config: RunConfig, settings: Settings, results: Results) -> float:
    """Tokens per second of one row, once."""
    if row in IN_PROCESS:
        return _in_process(row, config, settings)
    if row == RUN:
        return _worker(config, settings, results)
    if row == SAMPLED:
        with contextlib.ExitStack() as stack:
            return _worker(config, settings, results, lambda run_id: stack.enter_context(somebody_who_samples(settings, run_id, results)))
    with app_server(settings) as address, contextlib.ExitStack() as stack:
        return _worker(config, settings, results, lambda run_id: stack.enter_context(page(address, run_id, results)))


# The bare loop and the training loop alone, each in a process of its own.


def _in_process(row: str, config: RunConfig, settings: Settings, repeat: int = 1) -> float:
    argv = [sys.executable, "-m", "playground.bench.loops", row, config.model_dump_json(), str(settings.root), str(repeat)]
    done = subprocess.run(argv, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


# A real run in a worker of its own.


def _worker(config: RunConfig, settings: Settings, results: Results, beside: Callable[[str], object] | None = None) -> float:
    """Train to the end in a fresh worker process; returns tokens per second."""
    run, first_s = run_in_worker(config, settings, beside)
    if beside is None:
        results.cold_s.append(first_s)
        _note_shares(results, RunFolder(settings.root, run.id), run)
    points = [(row.body["seconds"], row.body["tokens"]) for row in Store(settings.root).events(run.id, kinds=["progress"])]
    return speed(points)


def run_in_worker(config: RunConfig, settings: Settings, beside: Callable[[str], object] | None = None) -> tuple[Run, float]:
    """Train to the end in a fresh worker process, with whatever `beside` begins once there is a loss; the run, and after how many
    seconds the first loss was there. Raises OSError where it does not finish."""
    db = Store(settings.root)
    db.create()
    run_id = create_run(db, settings, config, HOST, state=store.STARTING)
    options = ["--root", str(settings.root), "--nice", str(settings.nice), "--threads", str(settings.n_cpus), "--run", run_id]
    began = time.monotonic()
    with open(RunFolder(settings.root, run_id).log, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "playground.workers.worker", *options],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=calm_threads(os.environ),
        )  # fmt: skip
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


def outcome_of(folder: RunFolder) -> dict[str, str]:
    """What the worker itself says of its time, in the last line of its log."""
    words = folder.log_tail().rsplit("Outcome(", 1)[1].rstrip(")").split(", ")
    return dict(word.split("=", 1) for word in words if "=" in word)


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
    spent = outcome_of(folder)
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


# One page that watches, or samples.


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
        # Its standby imports torch and finds out how fast the machine is; that is no part of what is measured.
        time.sleep(STANDBY_SETTLED_S)
        yield address
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def page(address: str, run_id: str, results: Results) -> Iterator[None]:
    """Ask what an open page asks, twice a second, until the end."""
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

    with _beside(visit, done):
        yield
    if not visits:
        raise OSError("the page was never answered")
    results.requests.append(len(visits))


@contextlib.contextmanager
def _beside(do: Callable[[], None], done: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def somebody_who_samples(settings: Settings, run_id: str, results: Results) -> Iterator[None]:
    """Let the run's newest checkpoint write without a pause, as the page would for a person, until the end."""
    done, tokens, db = threading.Event(), 0, Store(settings.root)
    computing = Computing(settings.nice, others=lambda: len(db.runs_in(store.ACTIVE)))

    def write() -> None:
        nonlocal tokens
        while not done.is_set():
            for _ in computing.stream(sampler.sample(settings.root, run_id, None, "", SampleConfig(max_new_tokens=500))):
                tokens += 1
                if done.is_set():
                    break

    began = time.monotonic()
    with _beside(write, done):
        yield
    results.sampled_per_s.append(tokens / (time.monotonic() - began))


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


# What is said of it.


def machine() -> dict:
    """The facts without which a speed means nothing."""
    import platform
    from importlib.metadata import version

    from playground.system.cores import n_cpus

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
        "sampled_per_s": results.sampled_per_s,
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
    lines += [f"{'tokens per second for who samples all the time':52} {_spread(results.sampled_per_s, ',.0f')}"]
    lines += ["", "share of the run's training time, by its worker's own account"]
    names = {
        "recording": "probes, samples and recording",
        "validation": "validation, without that of the whole text   ",
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


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
